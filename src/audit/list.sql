-- audit::list
-- $1 page size, int8; $2 id before which the page starts, text or null
-- $3 actor, $4 action, $5 outcome, each text or null for any
-- $6 since, $7 until, seconds since 1970 as float8 or null
with found as (
    select audit_log as entry, id, row_number() over (order by id desc) as place
    from audit_log
    where id < coalesce($2::text::bigint, 9223372036854775807)
      and ($3::text is null or actor = $3::text)
      and ($4::text is null or action = $4::text)
      and ($5::text is null or outcome = $5::text)
      and ($6::float8 is null or occurred_at >= to_timestamp($6::float8))
      and ($7::float8 is null or occurred_at < to_timestamp($7::float8))
    order by id desc
    limit $1::bigint + 1
)
select jsonb_build_object(
    'entries', coalesce(
        jsonb_agg(
            jsonb_build_object(
                'id', id, 'occurred_at', rfc3339((entry).occurred_at),
                'actor', (entry).actor, 'action', (entry).action,
                'outcome', (entry).outcome, 'reason', (entry).reason,
                'resource', (entry).resource, 'ip_address', (entry).ip_address,
                'request_id', (entry).request_id, 'user_agent', (entry).user_agent)
            order by place) filter (where place <= $1::bigint),
        '[]'),
    'next_after', case when count(*) > $1::bigint
        then (min(id) filter (where place <= $1::bigint))::text end)
from found
