-- reconcile: ends a session that consumers and the database do not agree about
-- $1 id, text; $2 user id and $3 public id, text, of its user: what the stream says
with ended as (
    delete from sessions using users
    where sessions.id = $1::text and users.id = sessions.user_id
    returning sessions.id, users.id as user_id, users.public_id
), event as (
    insert into outbox (kind, entity_id, data)
    select 'SessionInvalidated', id, jsonb_build_object(
        'session_id', id, 'user_id', user_id, 'public_id', public_id, 'reason', 'revoked')
    from (
        select id, user_id, public_id from ended
        union all
        select $1::text, $2::integer, $3::text
        where not exists (select from sessions where id = $1::text)
    ) as session
    returning kind || ' ' || entity_id as line
)
select line from event
