-- account::password, 1 of 2: the hash of whoever asks
-- $1 session id, text
select coalesce(
    (
        select jsonb_build_object(
            'outcome', 'found', 'public_id', users.public_id, 'password_hash', users.password_hash)
        from sessions join users on users.id = sessions.user_id
        where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
    ),
    jsonb_build_object('outcome', 'not_live')
)
