-- session::login, 2 of 2: the session of an account whose password was right
-- $1 user id, int4; $2 the hash that was verified, text; $3 its replacement, text or null
-- $4 session id, text; $5 time to live in seconds, float8
-- $6 client address, text or null; $7 user agent, text or null; $8 ADMIN_USERNAME, text
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
           $6::text, $7::text
    from account
    returning id, user_id, expires_at, created_at
), event as (
    insert into outbox (kind, entity_id, data)
    select 'SessionCreated', opened.id, jsonb_build_object(
        'session_id', opened.id, 'user_id', account.id, 'public_id', account.public_id,
        'expires_at', extract(epoch from opened.expires_at)::bigint)
    from opened join account on account.id = opened.user_id
)
select coalesce(
    (
        select jsonb_build_object(
            'outcome', 'opened',
            'issued_at', floor(extract(epoch from opened.created_at))::bigint,
            'expires_at', extract(epoch from opened.expires_at)::bigint,
            'expires_at_text', rfc3339(opened.expires_at),
            'user', user_json(account.profile, $8::text))
        from opened join account on account.id = opened.user_id
    ),
    jsonb_build_object('outcome', 'changed')
)
