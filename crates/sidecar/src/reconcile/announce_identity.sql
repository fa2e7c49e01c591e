-- reconcile: tells consumers what became of a service account of which the stream says more
-- than the database knows
-- $1 id, text; $2 highest version in the stream; $3 user id and $4 public id, text, of the
-- owner: what the stream says
with changed as (
    update service_accounts set version = greatest(version, $2::bigint) + 1
    where id = $1::text
    returning service_accounts as identity, id, owner_id
), event as (
    insert into outbox (kind, entity_id, data)
    select 'IdentityPermissionsUpdated', changed.id, identity_event(identity, users.public_id)
    from changed join users on users.id = owner_id
    union all
    select 'IdentityPermissionsDeleted', $1::text, jsonb_build_object(
        'service_account_id', $1::text, 'user_id', $3::integer, 'public_id', $4::text,
        'version', $2::bigint + 1)
    where not exists (select from service_accounts where id = $1::text)
    returning kind || ' ' || entity_id as line
)
select line from event
