-- Who did what, from where, and what came of it.

create table audit_log (
    id          bigserial,
    occurred_at timestamptz not null default now(),
    actor       text,
    action      text        not null,
    outcome     text        not null,
    reason      text,
    resource    text,
    ip_address  text,
    request_id  text,
    user_agent  text,
    pushed_at   timestamptz,
    constraint audit_log_pkey primary key (id),
    constraint audit_log_outcome_known check (outcome in ('success', 'failure', 'denied')),
    constraint audit_log_reason_unless_success check ((outcome = 'success') = (reason is null))
);

create index audit_log_actor_idx on audit_log (actor, id);
create index audit_log_action_idx on audit_log (action, id);
create index audit_log_occurred_at_idx on audit_log (occurred_at);

-- What the log service has yet to get.
create index audit_log_unpushed_idx on audit_log (id) where pushed_at is null;

comment on table audit_log is
    'A row for each login, logout and change, written by the statement that makes it. Rows are never changed but for pushed_at.';
comment on column audit_log.id is 'Newest last, give or take transactions that ran at the same time.';
comment on column audit_log.occurred_at is 'The transaction of the change.';
comment on column audit_log.actor is
    'public_id of who did it, kept when the user is deleted; null when nobody was known, and for the service itself.';
comment on column audit_log.action is 'What was tried: login, user.create, token.revoke, …';
comment on column audit_log.outcome is
    'success; failure: it could not be done; denied: the actor may not do it.';
comment on column audit_log.reason is 'Why not, as a code; null exactly when the outcome is success.';
comment on column audit_log.resource is 'On what: user:PUBLIC_ID, session:ID, service_account:ID, token:ID, or a method and a path.';
comment on column audit_log.ip_address is 'Address of the client, without its port.';
comment on column audit_log.request_id is 'X-Request-Id of the response.';
comment on column audit_log.user_agent is 'User-Agent of the client, cut to 512 characters.';
comment on column audit_log.pushed_at is 'When the log service had taken the row; null until then.';

-- The columns of a row, from what a statement has at hand: a reason means that it
-- was not a success, and the facts about the request are one parameter of it.
create function audit_entry(actor text, request text, action text, reason text, resource text)
returns table (
    actor text, action text, outcome text, reason text, resource text,
    ip_address text, request_id text, user_agent text)
language sql immutable parallel safe
begin atomic
    select audit_entry.actor, audit_entry.action,
           case when audit_entry.reason is null then 'success'
                when audit_entry.reason in ('forbidden', 'self_forbidden', 'throttled') then 'denied'
                else 'failure' end,
           -- An id in a path is as long as a client likes.
           audit_entry.reason, left(audit_entry.resource, 300),
           request::jsonb ->> 'ip_address', request::jsonb ->> 'request_id',
           request::jsonb ->> 'user_agent';
end;

comment on function audit_entry(text, text, text, text, text) is
    'A row of audit_log from its third column on. request is the text of a JSON object with ip_address, request_id and user_agent, or null where there is no request.';

-- Removing published rows by age, and the position of a snapshot: the sequence
-- of the event that was marked last.
create index outbox_published_at_idx on outbox (published_at, stream_seq)
    where published_at is not null;

-- Ends the sessions of a user but one. What end_sessions says holds here, too.
create function end_other_sessions(of_user integer, kept text, why text) returns bigint
language sql volatile as $$
    with ended as (
        delete from sessions where user_id = of_user and id is distinct from kept returning id
    ), event as (
        insert into outbox (kind, entity_id, data)
        select 'SessionInvalidated', ended.id, jsonb_build_object(
            'session_id', ended.id, 'user_id', users.id,
            'public_id', users.public_id, 'reason', why)
        from ended join users on users.id = of_user
        order by ended.id
    )
    select count(*) from ended;
$$;

comment on function end_other_sessions(integer, text, text) is
    'Deletes every session of a user but the kept one (none is kept when that is null), writes a SessionInvalidated event for each, and returns how many there were.';

create or replace function end_sessions(of_user integer, why text) returns bigint
language sql volatile as $$
    select end_other_sessions(of_user, null, why);
$$;
