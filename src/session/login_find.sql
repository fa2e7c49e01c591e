-- session::login, 1 of 2: the account that a username names, if it may be tried
-- $1 username, text; $2 network of the client, text
-- $3 facts about the request, text of a JSON object
with account as (
    select id, public_id, password_hash, disabled
    from users
    where lower(username) = lower($1::text)
), attempt as materialized (
    select login_attempt($1::text, $2::text, exists (
        select from known_networks join account on user_id = account.id
        where network = $2::text and last_login_at > now() - interval '30 days')) as decision
), refused as (
    select decision from attempt where not (decision ->> 'allowed')::boolean
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from refused left join account on true, audit_entry(
        public_id, $3::text, 'login', 'throttled', 'user:' || public_id) as entry
    where (decision ->> 'report')::boolean
)
select coalesce(
    (select jsonb_build_object('outcome', 'throttled', 'quota', decision) from refused),
    (select jsonb_build_object(
         'outcome', 'found', 'quota', decision, 'user_id', id, 'public_id', public_id,
         'password_hash', password_hash, 'disabled', disabled)
     from account, attempt),
    (select jsonb_build_object('outcome', 'unknown', 'quota', decision) from attempt)
)
