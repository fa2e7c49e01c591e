-- user::read
-- $1 public id, text; $2 ADMIN_USERNAME, text
select coalesce(
    (
        select jsonb_build_object('outcome', 'found', 'user', user_profile(users, $2::text))
        from users
        where public_id = $1::text
    ),
    jsonb_build_object('outcome', 'not_found')
)
