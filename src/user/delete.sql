-- user::delete
-- $1 public id, text
with target as (
    select id from users where public_id = $1::text for update
), ended as (
    -- Before the user goes: deleting it would take the sessions along unannounced.
    select id, end_sessions(id, 'user_deleted') as sessions from target
), deleted as (
    delete from users using ended
    where users.id = ended.id
    returning users.id, public_id, username, ended.sessions
), event as (
    insert into outbox (kind, entity_id, data)
    select 'UserDeleted', public_id, jsonb_build_object(
        'user_id', id, 'public_id', public_id, 'username', username)
    from deleted
)
select coalesce(
    (select jsonb_build_object('outcome', 'deleted', 'sessions_ended', sessions) from deleted),
    jsonb_build_object('outcome', 'not_found')
)
