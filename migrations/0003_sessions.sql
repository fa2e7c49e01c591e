-- Sessions: a token is good only while its row here lives.

create table sessions (
    id         text        not null,
    user_id    integer     not null,
    expires_at timestamptz not null,
    created_at timestamptz not null default now(),
    ip_address text,
    user_agent text,
    constraint sessions_pkey primary key (id),
    constraint sessions_user_id_fkey foreign key (user_id) references users (id) on delete cascade
);

create index sessions_user_id_idx on sessions (user_id);
create index sessions_expires_at_idx on sessions (expires_at);

comment on table sessions is 'Logins that have not ended. Ending one deletes its row and writes SessionInvalidated.';
comment on column sessions.id is 'A version 7 UUID as text; the sid claim of the token.';
comment on column sessions.user_id is 'Whose session it is.';
comment on column sessions.expires_at is 'The exp claim of the token, to the second.';
comment on column sessions.created_at is 'The login.';
comment on column sessions.ip_address is 'Address of the client at login, without its port.';
comment on column sessions.user_agent is 'User-Agent of the client at login, cut to 512 characters.';

-- Whoever disables, deletes or re-passwords a user holds the lock on its row
-- when calling this. A login locks that row as well, so it has either
-- committed, and then the new snapshot of this function sees its session, or it
-- will find the user changed. The calling statement's own snapshot may be older
-- than that login and would miss it (docs/adr/0002).
create function end_sessions(of_user integer, why text) returns bigint
language sql volatile as $$
    with ended as (
        delete from sessions where user_id = of_user returning id
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

comment on function end_sessions(integer, text) is
    'Deletes every session of a user, writes a SessionInvalidated event for each, and returns how many there were.';
