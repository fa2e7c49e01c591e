-- session::login, 1 of 2: the account that a username names, if it may be tried
-- $1 canonical username, text; $2 network of the client, text
-- $3 facts about the request, text of a JSON object
-- $4 what picks the stand-in, text: of the name, and nobody outside can compute it
with account as (
    select id, public_id, password_hash, disabled
    from users
    where canonical_username = $1::text
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
    -- The stand-in is looked up whether it is needed or not.
    (select jsonb_build_object(
         'outcome', case when id is null then 'unknown' else 'found' end,
         'quota', decision, 'user_id', id, 'public_id', public_id,
         'password_hash', password_hash, 'disabled', disabled, 'stand_in', stand_in($4::text))
     from attempt left join account on true)
)
