-- reconcile: corrects the sequences of published rows
-- $1 ids; $2 the sequences that they have; $3 those that they should have
with found as (
    select * from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as found (id, wrong, sequence)
), moved as (
    update outbox set stream_seq = found.sequence
    from found
    where outbox.id = found.id and outbox.stream_seq = found.wrong
    returning outbox.id, kind, entity_id, found.wrong, found.sequence
)
select (select count(*) from moved) as count,
       array(
           select format('%s %s %s: sequence %s, not %s', id, kind, entity_id, sequence, wrong)
           from moved order by id limit 20) as examples
