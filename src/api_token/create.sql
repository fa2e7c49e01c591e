-- api_token::create
-- $1 session id, text; $2 id of the service account, text; $3 id of the new token, text
-- $4 name, text; $5 SHA-256 of the token, bytea; $6 time to live in seconds, float8 or null
-- $7 most tokens of a service account, int8; $8 facts about the request, text of a JSON object
with owner as (
    -- The lock keeps the session from being ended while this waits for the account.
    select users.id, users.public_id
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
    for key share of sessions
), target as (
    -- The lock makes the creations of an account wait for each other, so that
    -- the count below is right, and for whatever deletes the account.
    select service_accounts.id
    from service_accounts join owner on owner.id = owner_id
    where service_accounts.id = $2::text
    for no key update of service_accounts
), room as (
    select id, count_tokens(id) < $7::bigint as is_free from target
), created as (
    insert into api_tokens (id, service_account_id, name, sha256, expires_at)
    select $3::text, id, $4::text, $5::bytea, now() + make_interval(secs => $6::float8)
    from room
    where is_free
    on conflict do nothing
    returning api_tokens as token, id
), result as (
    select 'created' as outcome, 'token:' || id as resource from created
    union all
    select 'limit_reached', 'service_account:' || id from room where not is_free
    union all
    select 'not_found', 'service_account:' || $2::text
    from owner
    where not exists (select from target)
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from result, owner, audit_entry(
        public_id, $8::text, 'token.create', nullif(outcome, 'created'), resource) as entry
)
select coalesce(
    (select jsonb_build_object('outcome', 'created', 'token', api_token_json(token)) from created),
    (select jsonb_build_object('outcome', outcome) from result),
    (select jsonb_build_object('outcome', 'retry') from room),
    jsonb_build_object('outcome', 'not_live')
)
