-- session::login, 2 of 2: the session of an account whose password was right
-- $1 user id, int4; $2 the hash that was verified, text; $3 its replacement, text or null
-- $4 session id, text; $5 time to live in seconds, float8; $6 ADMIN_USERNAME, text
-- $7 facts about the request, text of a JSON object; $8 canonical username, text
-- $9 network of the client, text; $10 session that the browser has shown, text or null
with account as (
    -- The lock orders this login before or after whatever disables, deletes or
    -- re-passwords the user; after it, the row does not match. Not a share lock:
    -- of two logins that both replace the hash, each would wait for the other.
    select users as profile, id, public_id
    from users
    where id = $1::integer and password_hash = $2::text and not disabled
    for no key update
), rehashed as (
    -- Silently, with today's parameters. Not a change that anybody is told of.
    update users set password_hash = $3::text
    from account
    where users.id = account.id and $3::text is not null
), opened as (
    -- Whole seconds, so that the row and the exp claim end at the same moment.
    insert into sessions (id, user_id, expires_at, ip_address, user_agent)
    select $4::text, id, date_trunc('second', now()) + make_interval(secs => $5::float8),
           $7::text::jsonb ->> 'ip_address', $7::text::jsonb ->> 'user_agent'
    from account
    returning id, user_id, expires_at, created_at
), known as (
    -- To the day: not each login is worth a write.
    insert into known_networks (user_id, network)
    select user_id, $9::text from opened
    on conflict (user_id, network) do update set last_login_at = now()
    where known_networks.last_login_at < now() - interval '1 day'
), replaced as (
    -- The browser keeps one cookie, so nobody could end the session of the old one.
    delete from sessions using users, opened
    where sessions.id = $10::text and users.id = sessions.user_id
    returning sessions.id, users.id as user_id, users.public_id
), cleared as (
    -- After the session that is replaced: counts are locked last.
    select login_succeeded($8::text, $9::text)
    from opened, (select count(*) from replaced) as ended
), event as (
    insert into outbox (kind, entity_id, data)
    select 'SessionInvalidated', id, jsonb_build_object(
        'session_id', id, 'user_id', user_id, 'public_id', public_id, 'reason', 'logout')
    from replaced
    union all
    select 'SessionCreated', opened.id, jsonb_build_object(
        'session_id', opened.id, 'user_id', account.id, 'public_id', account.public_id,
        'expires_at', extract(epoch from opened.expires_at)::bigint)
    from opened join account on account.id = opened.user_id
), audited as (
    insert into audit_log
        (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    select entry.*
    from opened join account on account.id = opened.user_id,
         audit_entry(account.public_id, $7::text, 'login', null, 'session:' || opened.id) as entry
    union all
    select entry.*
    from replaced, audit_entry(public_id, $7::text, 'logout', null, 'session:' || id) as entry
)
select coalesce(
    (
        select jsonb_build_object(
            'outcome', 'opened',
            'issued_at', floor(extract(epoch from opened.created_at))::bigint,
            'expires_at', extract(epoch from opened.expires_at)::bigint,
            'expires_at_text', rfc3339(opened.expires_at),
            'user', user_profile(account.profile, $6::text))
        from opened join account on account.id = opened.user_id, cleared
    ),
    jsonb_build_object('outcome', 'retry')
)
