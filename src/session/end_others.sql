-- session::end_others
-- $1 session id of the caller, text; $2 facts about the request, text of a JSON object
with owner as (
    -- The lock on the user is what end_other_sessions asks for; the one on the session
    -- sees to it that it has not been ended meanwhile.
    select users.id, users.public_id
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
    for no key update of users for key share of sessions
), ended as (
    select public_id, end_other_sessions(id, $1::text, 'revoked') as sessions from owner
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from ended, audit_entry(
        public_id, $2::text, 'sessions.revoke', null, 'user:' || public_id) as entry
)
select coalesce(
    (select jsonb_build_object('outcome', 'ended', 'sessions_ended', sessions) from ended),
    jsonb_build_object('outcome', 'not_live')
)
