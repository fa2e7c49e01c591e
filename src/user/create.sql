-- user::create
-- $1 public id, text; $2 username, text; $3 display name, text or null
-- $4 password hash, text; $5 ADMIN_USERNAME, text
-- $6 public id of the administrator, text or null; $7 facts about the request, text of a JSON
-- object or null; $8 canonical username, text
with holder as (
    select lock_canonical_username($8::text) as user_id
), created as (
    -- The name is free, or nobody gets here: what can conflict is the public id.
    insert into users (public_id, username, canonical_username, display_name, password_hash)
    select $1::text, $2::text, $8::text, $3::text, $4::text
    from holder
    where user_id is null
    on conflict do nothing
    returning users as account, public_id
), event as (
    insert into outbox (kind, entity_id, data)
    select 'UserCreated', public_id, user_event(account) from created
), result as (
    select 'created' as outcome, 'user:' || public_id as resource from created
    union all
    select 'username_taken', null from holder where user_id is not null
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from result, audit_entry(
        $6::text, $7::text, 'user.create', nullif(outcome, 'created'), resource) as entry
)
select coalesce(
    (select jsonb_build_object('outcome', 'created', 'user', user_profile(account, $5::text))
     from created),
    (select jsonb_build_object('outcome', outcome) from result),
    jsonb_build_object('outcome', 'retry')
)
