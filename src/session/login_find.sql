-- session::login, 1 of 2: the account that a username names
-- $1 username, text
select coalesce(
    (
        select jsonb_build_object(
            'outcome', 'found', 'user_id', id, 'public_id', public_id,
            'password_hash', password_hash, 'disabled', disabled)
        from users
        where lower(username) = lower($1::text)
    ),
    jsonb_build_object('outcome', 'unknown')
)
