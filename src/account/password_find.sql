-- account::password, 1 of 2: the hash of whoever asks, if it may be tried
-- $1 session id, text; $2 network of the client, text
-- $3 facts about the request, text of a JSON object
with account as (
    select users.public_id, users.username, users.canonical_username, users.password_hash
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
), attempt as materialized (
    -- Whoever has a session is not a stranger to the name.
    select login_attempt(canonical_username, $2::text, true) as decision from account
), refused as (
    select decision from attempt where not (decision ->> 'allowed')::boolean
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from refused, account, audit_entry(
        public_id, $3::text, 'password.change', 'throttled', 'user:' || public_id) as entry
    where (decision ->> 'report')::boolean
)
select coalesce(
    (select jsonb_build_object('outcome', 'throttled', 'quota', decision) from refused),
    (select jsonb_build_object(
         'outcome', 'found', 'public_id', public_id, 'password_hash', password_hash)
     from account),
    jsonb_build_object('outcome', 'not_live')
)
