-- session::end
-- $1 id of the session to end, text; $2 public id of the administrator, text
-- $3 facts about the request, text of a JSON object
with ended as (
    delete from sessions using users
    where sessions.id = $1::text and users.id = sessions.user_id and sessions.expires_at > now()
    returning sessions.id, users.id as user_id, users.public_id
), event as (
    insert into outbox (kind, entity_id, data)
    select 'SessionInvalidated', id, jsonb_build_object(
        'session_id', id, 'user_id', user_id, 'public_id', public_id, 'reason', 'revoked')
    from ended
), result as (
    select case when exists (select from ended) then 'ended' else 'not_found' end as outcome
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from result, audit_entry(
        $2::text, $3::text, 'session.revoke', nullif(outcome, 'ended'), 'session:' || $1::text)
        as entry
)
select jsonb_build_object('outcome', outcome) from result
