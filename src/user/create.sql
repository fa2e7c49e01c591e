-- user::create
-- $1 public id, text; $2 username, text; $3 display name, text or null
-- $4 password hash, text; $5 ADMIN_USERNAME, text
with holder as (
    select lock_username($2::text) as user_id
), created as (
    -- The name is free, or nobody gets here: what can conflict is the public id.
    insert into users (public_id, username, display_name, password_hash)
    select $1::text, $2::text, $3::text, $4::text
    from holder
    where user_id is null
    on conflict do nothing
    returning users as account, id, public_id, username, display_name
), event as (
    insert into outbox (kind, entity_id, data)
    select 'UserCreated', public_id, jsonb_build_object(
        'user_id', id, 'public_id', public_id, 'username', username, 'display_name', display_name)
    from created
)
select coalesce(
    (select jsonb_build_object('outcome', 'created', 'user', user_json(account, $5::text))
     from created),
    (select jsonb_build_object('outcome', 'username_taken') from holder where user_id is not null),
    jsonb_build_object('outcome', 'retry')
)
