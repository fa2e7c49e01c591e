-- reconcile: tells consumers what became of a user of whom the stream says more than
-- the database knows
-- $1 public id, text; $2 highest version in the stream; $3 user id, $4 username, text: what
-- the stream says
with gone as (
    select where not exists (select from users where public_id = $1::text)
), account as (
    update users set version = greatest(version, $2::bigint) + 1
    where public_id = $1::text
    returning users as account, public_id
), namesake as (
    -- Whoever got the number of a user whom only the stream knows: for consumers, who go by
    -- the number, its versions have to rise above those of the other and its end.
    update users set version = greatest(version, $2::bigint + 1) + 1
    from gone
    where id = $3::integer
    returning users as account, public_id
), event as (
    insert into outbox (kind, entity_id, data)
    select 'UserUpdated', public_id, user_event(account) from account
    union all
    select 'UserUpdated', public_id, user_event(account) from namesake
    union all
    select 'UserDeleted', $1::text, jsonb_build_object(
        'user_id', $3::integer, 'public_id', $1::text, 'username', $4::text,
        'version', $2::bigint + 1)
    from gone
    returning kind || ' ' || entity_id as line
)
select line from event
