-- service_account::create
-- $1 session id, text; $2 id of the new account, text; $3 name, text
-- $4 scopes, text of a JSON object; $5 most accounts of an owner, int8
-- $6 facts about the request, text of a JSON object
with owner as (
    -- The lock makes the creations of an owner wait for each other, so that the
    -- count below is right, and for whatever deletes the owner. The session is locked
    -- as well: it may be ended while this waits.
    select users.id, users.public_id
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
    for no key update of users for key share of sessions
), room as (
    select id, public_id, count_service_accounts(id) < $5::bigint as is_free from owner
), created as (
    insert into service_accounts (id, owner_id, name, scopes)
    select $2::text, id, $3::text, $4::text::jsonb from room where is_free
    on conflict on constraint service_accounts_pkey do nothing
    returning service_accounts as identity, id
), event as (
    insert into outbox (kind, entity_id, data)
    select 'IdentityPermissionsUpdated', created.id, identity_event(identity, room.public_id)
    from created, room
), result as (
    select 'created' as outcome, 'service_account:' || id as resource from created
    union all
    select 'limit_reached', null from room where not is_free
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from result, room, audit_entry(
        room.public_id, $6::text, 'service_account.create', nullif(outcome, 'created'), resource)
        as entry
)
select coalesce(
    (select jsonb_build_object(
         'outcome', 'created', 'service_account', service_account_json(identity))
     from created),
    (select jsonb_build_object('outcome', outcome) from result),
    (select jsonb_build_object('outcome', 'retry') from room),
    jsonb_build_object('outcome', 'not_live')
)
