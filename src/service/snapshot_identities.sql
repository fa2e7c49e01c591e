-- service::snapshot_identities
-- $1 page size, int8; $2 id after which the page starts, text or null
with found as (
    select service_accounts as identity, users.public_id,
           row_number() over (order by service_accounts.id) as place
    from service_accounts join users on users.id = owner_id
    where service_accounts.id > coalesce($2::text, '')
    order by service_accounts.id
    limit $1::bigint + 1
), published as (
    -- As in snapshot_users.
    select stream_seq from outbox
    where published_at is not null
    order by published_at desc, stream_seq desc
    limit 1
)
select jsonb_build_object(
    'rows', coalesce(
        jsonb_agg(identity_event(identity, public_id) order by place)
            filter (where place <= $1::bigint),
        '[]'),
    'next_after', case when count(*) > $1::bigint
        then max((identity).id) filter (where place <= $1::bigint) end,
    'position', coalesce((select stream_seq from published), 0))
from found
