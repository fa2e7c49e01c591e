-- service_account::list
-- $1 session id, text; $2 page size, int8
-- $3 creation and id after which the page starts, as text with a space between, or null
with owner as (
    select users.id
    from sessions join users on users.id = sessions.user_id
    where sessions.id = $1::text and sessions.expires_at > now() and not users.disabled
), found as (
    select service_accounts as identity, created_at, service_accounts.id,
           row_number() over (order by created_at, service_accounts.id) as place
    from service_accounts join owner on owner.id = owner_id
    where (created_at, service_accounts.id) > (
        coalesce(split_part($3::text, ' ', 1)::timestamptz, '-infinity'),
        coalesce(split_part($3::text, ' ', 2), ''))
    order by created_at, service_accounts.id
    limit $2::bigint + 1
)
select case when exists (select from owner)
    then jsonb_build_object(
        'outcome', 'listed',
        'service_accounts', coalesce(
            jsonb_agg(service_account_json(identity) order by place)
                filter (where place <= $2::bigint),
            '[]'),
        'next_after', case when count(*) > $2::bigint
            then max(rfc3339(created_at) || ' ' || id) filter (where place = $2::bigint) end)
    else jsonb_build_object('outcome', 'not_live')
    end
from found
