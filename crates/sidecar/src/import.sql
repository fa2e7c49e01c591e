-- import
-- $1 users, text of a JSON array of {line, public_id, username, canonical_username,
--    display_name, password_hash}
with wanted as (
    select *
    from jsonb_to_recordset($1::text::jsonb) as wanted (
        line integer, public_id text, username text, canonical_username text,
        display_name text, password_hash text)
), created as (
    insert into users (public_id, username, canonical_username, display_name, password_hash)
    select public_id, username, canonical_username, display_name, password_hash
    from wanted
    order by line
    on conflict do nothing
    returning users as account, public_id
), event as (
    insert into outbox (kind, entity_id, data)
    select 'UserCreated', public_id, user_event(account) from created
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from created, audit_entry(null, null, 'user.create', null, 'user:' || public_id) as entry
)
select coalesce(
    jsonb_agg(
        jsonb_build_object(
            'line', line,
            'taken', exists (
                select from users
                where users.canonical_username = wanted.canonical_username
                   or users.username = wanted.username))
        order by line),
    '[]')
from wanted
where not exists (select from created where created.public_id = wanted.public_id)
