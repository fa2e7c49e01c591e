-- session::logout
-- $1 session id, text; $2 facts about the request, text of a JSON object
with ended as (
    -- Only a session that could still be used can be logged out of.
    delete from sessions using users
    where sessions.id = $1::text and users.id = sessions.user_id
      and sessions.expires_at > now() and not users.disabled
    returning sessions.id, users.id as user_id, users.public_id
), event as (
    insert into outbox (kind, entity_id, data)
    select 'SessionInvalidated', id, jsonb_build_object(
        'session_id', id, 'user_id', user_id, 'public_id', public_id, 'reason', 'logout')
    from ended
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from ended, audit_entry(public_id, $2::text, 'logout', null, 'session:' || id) as entry
)
select jsonb_build_object(
    'outcome', case when exists (select from ended) then 'ended' else 'not_live' end)
