-- api_token::list
-- $1 session id, text; $2 id of the service account, text; $3 page size, int8
-- $4 creation and id after which the page starts, as text with a space between, or null
with owner as (
    select users.id
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
), target as (
    select service_accounts.id
    from service_accounts join owner on owner.id = owner_id
    where service_accounts.id = $2::text
), found as (
    select api_tokens as token, created_at, api_tokens.id,
           row_number() over (order by created_at, api_tokens.id) as place
    from api_tokens join target on target.id = service_account_id
    where (created_at, api_tokens.id) > (
        coalesce(split_part($4::text, ' ', 1)::timestamptz, '-infinity'),
        coalesce(split_part($4::text, ' ', 2), ''))
    order by created_at, api_tokens.id
    limit $3::bigint + 1
)
select case
    when not exists (select from owner) then jsonb_build_object('outcome', 'not_live')
    when not exists (select from target) then jsonb_build_object('outcome', 'not_found')
    else jsonb_build_object(
        'outcome', 'listed',
        'tokens', coalesce(
            jsonb_agg(api_token_json(token) order by place) filter (where place <= $3::bigint),
            '[]'),
        'next_after', case when count(*) > $3::bigint
            then max(rfc3339(created_at) || ' ' || id) filter (where place = $3::bigint) end)
    end
from found
