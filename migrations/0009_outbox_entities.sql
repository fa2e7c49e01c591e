-- Which rows of an entity wait: asked for each row that may overtake others, and for each
-- that may stand behind one that was set aside. As small as the backlog.
create index outbox_waiting_entity_idx on outbox (entity_id, id)
    where published_at is null;

-- Which rows JetStream has lost: those behind the end of the stream.
create index outbox_stream_seq_idx on outbox (stream_seq)
    where stream_seq is not null;

comment on column outbox.set_aside_at is
    'When the relay gave the row up, because it is no event or JetStream refuses it for good. Later rows of the entity wait until it is requeued or dropped.';
comment on column outbox.published_at is
    'When JetStream acknowledged the event; null until then, and again when it turns out that JetStream has lost it.';
