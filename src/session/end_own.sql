-- session::end_own
-- $1 session id of the caller, text; $2 id of the session to end, text
-- $3 facts about the request, text of a JSON object
with owner as (
    select users.id, users.public_id
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
), ended as (
    delete from sessions using owner
    where sessions.id = $2::text and sessions.user_id = owner.id and sessions.expires_at > now()
    returning sessions.id, sessions.user_id, owner.public_id
), event as (
    insert into outbox (kind, entity_id, data)
    select 'SessionInvalidated', id, jsonb_build_object(
        'session_id', id, 'user_id', user_id, 'public_id', public_id, 'reason', 'revoked')
    from ended
), result as (
    select public_id,
           case when exists (select from ended) then 'ended' else 'not_found' end as outcome
    from owner
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from result, audit_entry(
        public_id, $3::text, 'session.revoke', nullif(outcome, 'ended'), 'session:' || $2::text)
        as entry
)
select jsonb_build_object('outcome', coalesce((select outcome from result), 'not_live'))
