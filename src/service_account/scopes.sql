-- service_account::scopes
-- $1 session id, text; $2 id of the account, text; $3 scopes, text of a JSON object
-- $4 versions of If-Match, text like 3,4 or null
-- $5 facts about the request, text of a JSON object
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
    for no key update of service_accounts
), changed as (
    update service_accounts set
        scopes = $3::text::jsonb, version = service_accounts.version + 1, updated_at = now()
    from target
    where service_accounts.id = target.id and version_matches(target.version, $4::text)
    returning service_accounts as identity, service_accounts.id
), event as (
    insert into outbox (kind, entity_id, data)
    select 'IdentityPermissionsUpdated', changed.id, identity_event(identity, owner.public_id)
    from changed, owner
), result as (
    select public_id,
           case when exists (select from changed) then 'changed'
                when exists (select from target) then 'precondition_failed'
                else 'not_found' end as outcome
    from owner
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from result, audit_entry(
        public_id, $5::text, 'service_account.update', nullif(outcome, 'changed'),
        'service_account:' || $2::text) as entry
)
select coalesce(
    (select jsonb_build_object(
         'outcome', 'changed', 'service_account', service_account_json(identity))
     from changed),
    (select jsonb_build_object('outcome', outcome) from result),
    jsonb_build_object('outcome', 'not_live')
)
