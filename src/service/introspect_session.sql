-- service::introspect, of a session's token
-- $1 session id, text
select coalesce(
    (
        select jsonb_build_object(
            'outcome', 'live', 'user_id', users.id, 'public_id', users.public_id,
            'username', users.username)
        from sessions join users on users.id = sessions.user_id
        where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
    ),
    jsonb_build_object('outcome', 'not_live')
)
