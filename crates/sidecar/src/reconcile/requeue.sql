-- reconcile: has the relay publish what the stream has lost
-- $1 ids; $2 the sequences that they have lost
with lost as (
    select * from unnest($1::bigint[], $2::bigint[]) as lost (id, sequence)
), requeued as (
    update outbox set published_at = null, stream_seq = null
    from lost
    where outbox.id = lost.id and outbox.stream_seq = lost.sequence
    returning outbox.id, kind, entity_id, lost.sequence
), later as (
    -- What the stream has of the same entities, from after them.
    select requeued.id, requeued.kind, requeued.entity_id,
           outbox.kind as later_kind, outbox.data as later_data, outbox.published_at
    from requeued join outbox using (entity_id)
    where outbox.id > requeued.id
      and outbox.set_aside_at is null
      and not exists (select from requeued as too where too.id = outbox.id)
), late as (
    select id, kind, entity_id, string_agg(distinct later_kind, ', ') as later_kinds
    from later
    where published_at is not null
    group by id, kind, entity_id
), ended_again as (
    -- Sessions have no versions: who hears of a beginning last takes the session for
    -- alive. An end that waits may be on its way at this very moment.
    insert into outbox (kind, entity_id, data)
    select distinct later_kind, entity_id, later_data
    from later
    where kind = 'SessionCreated' and later_kind = 'SessionInvalidated'
    returning id
)
select (select count(*) from requeued) as count,
       array(
           select format('%s %s %s: had sequence %s', id, kind, entity_id, sequence)
           from requeued order by id limit 20) as examples,
       (select count(*) from late) as late,
       array(
           select format('%s %s %s, after %s', id, kind, entity_id, later_kinds)
           from late order by id limit 20) as late_examples,
       (select count(*) from ended_again) as ended_again,
       pg_notify('outbox', '')
