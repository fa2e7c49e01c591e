-- user::update
-- $1 public id, text; $2 the fields to change, as the text of a JSON object; $3 ADMIN_USERNAME, text
with wanted as (
    select $2::text::jsonb as field
), target as (
    select id from users where public_id = $1::text for update
), holder as (
    select lock_username(field ->> 'username') as user_id
    from wanted, target
    where field ? 'username'
), taken as (
    select from holder, target where holder.user_id <> target.id
), changed as (
    update users set
        username = coalesce(field ->> 'username', username),
        display_name = case when field ? 'display_name'
            then field ->> 'display_name' else display_name end,
        disabled = coalesce((field ->> 'disabled')::boolean, disabled),
        is_admin = coalesce((field ->> 'is_admin')::boolean, is_admin),
        updated_at = now()
    from wanted, target
    where users.id = target.id and not exists (select from taken)
    returning users as account, users.id, public_id, username, display_name, disabled
), ended as (
    select end_sessions(id, 'user_disabled') as sessions from changed where disabled
), event as (
    insert into outbox (kind, entity_id, data)
    select 'UserUpdated', public_id, jsonb_build_object(
        'user_id', id, 'public_id', public_id, 'username', username, 'display_name', display_name)
    from changed
)
select coalesce(
    (select jsonb_build_object(
         'outcome', 'changed',
         'user', user_json(account, $3::text),
         'sessions_ended', coalesce((select sessions from ended), 0))
     from changed),
    (select jsonb_build_object('outcome', 'username_taken') from taken),
    jsonb_build_object('outcome', 'not_found')
)
