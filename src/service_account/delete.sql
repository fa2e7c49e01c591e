-- service_account::delete
-- $1 session id, text; $2 id of the account, text
-- $3 versions of If-Match, text like 3,4 or null
-- $4 facts about the request, text of a JSON object
with owner as (
    -- The lock keeps the session from being ended while this waits for the account.
    select users.id, users.public_id
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
    for key share of sessions
), target as (
    select service_accounts.id, service_accounts.version
    from service_accounts join owner on owner.id = owner_id
    where service_accounts.id = $2::text
    for update of service_accounts
), deleted as (
    -- Its tokens go with it: the foreign key says on delete cascade.
    delete from service_accounts using target
    where service_accounts.id = target.id and version_matches(target.version, $3::text)
    returning service_accounts.id, service_accounts.version
), event as (
    insert into outbox (kind, entity_id, data)
    select 'IdentityPermissionsDeleted', deleted.id, jsonb_build_object(
        'service_account_id', deleted.id, 'user_id', owner.id, 'public_id', owner.public_id,
        'version', deleted.version + 1)
    from deleted, owner
), result as (
    select public_id,
           case when exists (select from deleted) then 'deleted'
                when exists (select from target) then 'precondition_failed'
                else 'not_found' end as outcome
    from owner
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from result, audit_entry(
        public_id, $4::text, 'service_account.delete', nullif(outcome, 'deleted'),
        'service_account:' || $2::text) as entry
)
select jsonb_build_object('outcome', coalesce((select outcome from result), 'not_live'))
