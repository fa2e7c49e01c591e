-- Events on their way to NATS. A row is inserted by the statement that makes the
-- change, so that both happen or neither does; the relay publishes and marks it.

create table outbox (
    id           bigserial,
    event_id     uuid        not null default gen_random_uuid(),
    kind         text        not null,
    entity_id    text        not null,
    data         jsonb       not null,
    occurred_at  timestamptz not null default now(),
    published_at timestamptz,
    stream_seq   bigint,
    attempts     integer     not null default 0,
    last_error   text,
    set_aside_at timestamptz,
    constraint outbox_pkey primary key (id),
    constraint outbox_event_id_key unique (event_id),
    constraint outbox_published_has_seq check ((published_at is null) = (stream_seq is null)),
    constraint outbox_published_or_set_aside check (published_at is null or set_aside_at is null)
);

-- What the relay asks for, over and over: as small as the backlog.
create index outbox_unpublished_idx on outbox (id)
    where published_at is null and set_aside_at is null;

-- What an operator asks for; hopefully empty.
create index outbox_set_aside_idx on outbox (id) where set_aside_at is not null;

comment on table outbox is 'Events, in the order in which the changes of each entity happened.';
comment on column outbox.id is
    'Rises per entity, because the insert reads from the CTE that holds the lock on the entity. Says nothing about two entities.';
comment on column outbox.event_id is 'metadata.event_id and Nats-Msg-Id: the same in every delivery.';
comment on column outbox.kind is 'One of the kinds of crates/events.';
comment on column outbox.entity_id is 'public_id of a user, id of a session, id of a service account.';
comment on column outbox.data is 'The fields of the event beside its metadata.';
comment on column outbox.occurred_at is 'metadata.timestamp: the transaction of the change.';
comment on column outbox.published_at is 'When JetStream acknowledged the event; null until then.';
comment on column outbox.stream_seq is 'Sequence in the stream AUTH that JetStream answered with.';
comment on column outbox.attempts is 'Publishes that failed so far.';
comment on column outbox.last_error is 'Why the last publish failed, or why the row was set aside.';
comment on column outbox.set_aside_at is 'When the relay gave the row up, because it does not fit its kind.';

-- Wakes the relay. Per statement, and only when it inserted something: a login
-- that fails inserts nothing, and a NOTIFY costs every commit that carries one.
create function outbox_notify() returns trigger
language plpgsql as $$
begin
    if exists (select from added) then
        perform pg_notify('outbox', '');
    end if;
    return null;
end
$$;

comment on function outbox_notify() is 'NOTIFY outbox when a statement has inserted rows.';

create trigger outbox_notify
after insert on outbox
referencing new table as added
for each statement execute function outbox_notify();
