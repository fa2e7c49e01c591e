-- account::update
-- $1 session id, text; $2 display name, text or null; $3 ADMIN_USERNAME, text
-- $4 versions of If-Match, text like 3,4 or null
-- $5 facts about the request, text of a JSON object
with target as (
    -- The session as well: it may be ended while this waits for the user.
    select users.id, users.public_id, users.version
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
    for no key update of users for key share of sessions
), changed as (
    update users set display_name = $2::text, version = users.version + 1, updated_at = now()
    from target
    where users.id = target.id and version_matches(target.version, $4::text)
    returning users as account, users.public_id
), event as (
    insert into outbox (kind, entity_id, data)
    select 'UserUpdated', public_id, user_event(account) from changed
), result as (
    select public_id,
           case when exists (select from changed) then 'changed' else 'precondition_failed' end
               as outcome
    from target
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from result, audit_entry(
        public_id, $5::text, 'profile.update', nullif(outcome, 'changed'), 'user:' || public_id)
        as entry
)
select coalesce(
    (select jsonb_build_object('outcome', 'changed', 'user', user_profile(account, $3::text))
     from changed),
    (select jsonb_build_object('outcome', outcome) from result),
    jsonb_build_object('outcome', 'not_live')
)
