-- account::password, 2 of 2: the new hash in place of the one that was verified
-- $1 session id, text; $2 the hash that was verified, text; $3 the new hash, text
-- $4 facts about the request, text of a JSON object; $5 network of the client, text
with target as (
    -- The lock on the user is what end_other_sessions asks for; the one on the session
    -- sees to it that it has not been ended meanwhile.
    select users.id, users.public_id, users.canonical_username, users.password_hash
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
    for no key update of users for key share of sessions
), changed as (
    -- Not a change of the user as anybody sees it: neither version nor event.
    update users set password_hash = $3::text
    from target
    where users.id = target.id and target.password_hash = $2::text
    returning users.id, users.public_id, users.canonical_username
), ended as (
    -- The caller's own session stays.
    select end_other_sessions(id, $1::text, 'password_changed') as sessions from changed
), cleared as (
    -- After the sessions: counts are locked last.
    select login_succeeded(canonical_username, $5::text) from changed, ended
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from changed, audit_entry(
        public_id, $4::text, 'password.change', null, 'user:' || public_id) as entry
)
select coalesce(
    (select jsonb_build_object(
         'outcome', 'changed', 'sessions_ended', (select sessions from ended))
     from changed, cleared),
    (select jsonb_build_object('outcome', 'retry') from target),
    jsonb_build_object('outcome', 'not_live')
)
