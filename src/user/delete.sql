-- user::delete
-- $1 public id, text; $2 ADMIN_USERNAME, text; $3 versions of If-Match, text like 3,4 or null
-- $4 public id of the administrator, text; $5 facts about the request, text of a JSON object
with target as (
    select * from users where public_id = $1::text for update
), verdict as (
    select case
        when not version_matches(version, $3::text) then 'precondition_failed'
        when (is_admin or username = $2::text) and not disabled
             and not another_admin_exists(id, $2::text) then 'last_admin'
        else 'deleted'
        end as outcome
    from target
), emptied as (
    -- Before the user goes: deleting it would take them along unannounced.
    select id, end_sessions(id, 'user_deleted') as sessions,
           delete_service_accounts(id) as service_accounts
    from target, verdict
    where outcome = 'deleted'
), deleted as (
    delete from users using emptied
    where users.id = emptied.id
    returning users.id, public_id, username, version, sessions, service_accounts
), event as (
    insert into outbox (kind, entity_id, data)
    select 'UserDeleted', public_id, jsonb_build_object(
        'user_id', id, 'public_id', public_id, 'username', username, 'version', version + 1)
    from deleted
), result as (
    select coalesce((select outcome from verdict), 'not_found') as outcome
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from result, audit_entry(
        $4::text, $5::text, 'user.delete', nullif(outcome, 'deleted'), 'user:' || $1::text)
        as entry
)
select coalesce(
    (select jsonb_build_object(
         'outcome', 'deleted', 'sessions_ended', sessions,
         'service_accounts_deleted', service_accounts)
     from deleted),
    (select jsonb_build_object('outcome', outcome) from result)
)
