-- authenticate::token
-- $1 SHA-256 of the token, bytea; $2 ADMIN_USERNAME, text
with live as (
    select api_tokens as token, service_accounts as identity, users as account
    from api_tokens
    join service_accounts on service_accounts.id = api_tokens.service_account_id
    join users on users.id = service_accounts.owner_id
    where sha256 = $1::bytea and (expires_at is null or expires_at > now()) and not users.disabled
), used as (
    -- Once a minute. Who finds the row locked has nothing to add.
    update api_tokens set last_used_at = now()
    where id in (
        select id from api_tokens
        where id = (select (token).id from live)
          and (last_used_at is null or last_used_at < now() - interval '1 minute')
        for no key update skip locked)
)
select coalesce(
    (
        select jsonb_build_object(
            'outcome', 'live',
            'user', user_profile(account, $2::text),
            'service_account_id', (identity).id,
            'scopes', (identity).scopes,
            'issued_at', floor(extract(epoch from (token).created_at))::bigint,
            'expires_at', floor(extract(epoch from (token).expires_at))::bigint)
        from live
    ),
    jsonb_build_object('outcome', 'not_live')
)
