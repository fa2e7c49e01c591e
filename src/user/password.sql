-- user::password
-- $1 public id, text; $2 password hash, text; $3 public id of the administrator, text
-- $4 facts about the request, text of a JSON object
with target as (
    select id from users where public_id = $1::text for update
), changed as (
    -- Not a change of the user as anybody sees it: neither version nor event.
    update users set password_hash = $2::text
    from target
    where users.id = target.id
    returning users.id
), ended as (
    select end_sessions(id, 'password_changed') as sessions from changed
), result as (
    select case when exists (select from changed) then 'changed' else 'not_found' end as outcome
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from result, audit_entry(
        $3::text, $4::text, 'password.reset', nullif(outcome, 'changed'), 'user:' || $1::text)
        as entry
)
select jsonb_build_object(
    'outcome', outcome, 'sessions_ended', coalesce((select sessions from ended), 0))
from result
