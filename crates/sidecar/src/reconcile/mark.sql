-- reconcile: marks rows that wait or are set aside, and are in the stream
-- $1 ids; $2 their sequences in the stream
with found as (
    select * from unnest($1::bigint[], $2::bigint[]) as found (id, sequence)
), marked as (
    update outbox set
        published_at = now(), stream_seq = found.sequence, set_aside_at = null,
        last_error = null
    from found
    where outbox.id = found.id and published_at is null
    returning outbox.id, kind, entity_id, stream_seq
)
select (select count(*) from marked) as count,
       array(
           select format('%s %s %s: has sequence %s', id, kind, entity_id, stream_seq)
           from marked order by id limit 20) as examples,
       -- Rows behind one that was set aside wait no more.
       pg_notify('outbox', '')
