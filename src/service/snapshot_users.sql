-- service::snapshot_users
-- $1 page size, int8; $2 id after which the page starts, text or null
with found as (
    select users as account, row_number() over (order by id) as place
    from users
    where id > coalesce($2::text::integer, 0)
    order by id
    limit $1::bigint + 1
), published as (
    -- Whatever the stream holds up to here was committed before it was
    -- published, and so before this statement: the page includes it.
    select stream_seq from outbox
    where published_at is not null
    order by published_at desc, stream_seq desc
    limit 1
)
select jsonb_build_object(
    'rows', coalesce(
        jsonb_agg(user_event(account) order by place) filter (where place <= $1::bigint), '[]'),
    'next_after', case when count(*) > $1::bigint
        then (max((account).id) filter (where place <= $1::bigint))::text end,
    'position', coalesce((select stream_seq from published), 0))
from found
