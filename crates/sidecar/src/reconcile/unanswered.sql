-- reconcile: of entities that the stream says more of than the outbox, those whose consumers
-- have not been put right
-- $1 text of a JSON array of {place, entity_id, version (null for a session), ended}
with unknown as materialized (
    select *
    from jsonb_to_recordset($1::text::jsonb) as unknown (
        place integer, entity_id text, version bigint, ended boolean)
), answer as (
    -- Read once, however many entities there are.
    select entity_id,
           max(case when jsonb_typeof(data -> 'version') = 'number'
               then (data ->> 'version')::bigint end) as version,
           bool_or(kind = 'SessionInvalidated') as ended
    from outbox
    where entity_id in (select entity_id from unknown) and set_aside_at is null
    group by entity_id
)
select place
from unknown
    left join answer using (entity_id)
    left join sessions on sessions.id = entity_id
where case
    when unknown.version is not null
        then coalesce(answer.version <= unknown.version, true)
    -- Consumers have seen its end, and here it goes on.
    when unknown.ended then sessions.id is not null
    -- Consumers have seen its beginning, and here it never was.
    else sessions.id is null and not coalesce(answer.ended, false)
    end
order by place
