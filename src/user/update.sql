-- user::update
-- $1 public id, text; $2 the fields to change, as the text of a JSON object
-- $3 ADMIN_USERNAME, text
-- $4 versions of If-Match, text like 3,4 or null; $5 public id of the administrator, text
-- $6 facts about the request, text of a JSON object
-- $7 canonical form of the username in $2, text or null
with wanted as (
    select $2::text::jsonb as field
), target as (
    select * from users where public_id = $1::text for update
), next as (
    -- What the row is to become.
    select target.id, target.version,
           coalesce(field ->> 'username', target.username) as username,
           coalesce($7::text, target.canonical_username) as canonical_username,
           case when field ? 'display_name'
               then field ->> 'display_name' else target.display_name end as display_name,
           coalesce((field ->> 'disabled')::boolean, target.disabled) as disabled,
           coalesce((field ->> 'is_admin')::boolean, target.is_admin) as is_admin,
           -- Whether it takes an administrator away.
           (target.is_admin or target.username = $3::text) and not target.disabled as was_admin
    from wanted, target
), holder as (
    select lock_canonical_username($7::text) as user_id
    from target
    where $7::text is not null
), verdict as (
    -- In this order, and that of the locks: row, name, administrators. A CASE
    -- evaluates no branch before the conditions above it.
    select case
        when not version_matches(next.version, $4::text) then 'precondition_failed'
        when exists (select from holder where user_id <> next.id) then 'username_taken'
        when was_admin and not ((is_admin or username = $3::text) and not disabled)
             and not another_admin_exists(next.id, $3::text) then 'last_admin'
        else 'changed'
        end as outcome
    from next
), changed as (
    update users set
        username = next.username, canonical_username = next.canonical_username,
        display_name = next.display_name, disabled = next.disabled, is_admin = next.is_admin,
        version = users.version + 1, updated_at = now()
    from next, verdict
    where users.id = next.id and outcome = 'changed'
    returning users as account, users.id, users.public_id, users.disabled
), ended as (
    select end_sessions(id, 'user_disabled') as sessions from changed where disabled
), event as (
    insert into outbox (kind, entity_id, data)
    select 'UserUpdated', public_id, user_event(account) from changed
), result as (
    select coalesce((select outcome from verdict), 'not_found') as outcome
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from result, audit_entry(
        $5::text, $6::text, 'user.update', nullif(outcome, 'changed'), 'user:' || $1::text)
        as entry
)
select coalesce(
    (select jsonb_build_object(
         'outcome', 'changed',
         'user', user_profile(account, $3::text),
         'sessions_ended', coalesce((select sessions from ended), 0))
     from changed),
    (select jsonb_build_object('outcome', outcome) from result)
)
