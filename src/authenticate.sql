-- authenticate
-- $1 session id, text; $2 ADMIN_USERNAME, text
select coalesce(
    (
        select jsonb_build_object('outcome', 'live', 'user', user_profile(users, $2::text))
        from sessions join users on users.id = sessions.user_id
        where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
    ),
    jsonb_build_object('outcome', 'not_live')
)
