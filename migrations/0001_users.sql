-- Users, and what statements about users share.

create table users (
    id            serial,
    public_id     text        not null,
    username      text        not null,
    display_name  text,
    password_hash text        not null,
    is_admin      boolean     not null default false,
    disabled      boolean     not null default false,
    created_at    timestamptz not null default now(),
    updated_at    timestamptz not null default now(),
    constraint users_pkey primary key (id),
    constraint users_public_id_key unique (public_id),
    constraint users_username_key unique (username),
    constraint users_public_id_form check (public_id ~ '^[0-9A-Za-z]{6}$'),
    constraint users_username_length check (char_length(username) between 1 and 254),
    constraint users_display_name_length check (char_length(display_name) <= 256)
);

-- Ada and ada are the same person to everybody who types the name.
create unique index users_username_lower_key on users (lower(username));

comment on table users is 'People who can log in.';
comment on column users.id is 'user_id everywhere outside; never reused.';
comment on column users.public_id is 'Six random characters; names the user in paths and in NATS subjects.';
comment on column users.username is 'What the user types to log in; unique without regard to case.';
comment on column users.display_name is 'What to call the user; null means the username will do.';
comment on column users.password_hash is 'PHC string. Never leaves the database but to be verified.';
comment on column users.is_admin is 'May use the admin API. The user named by ADMIN_USERNAME may as well.';
comment on column users.disabled is 'Can not log in and has no live session.';
comment on column users.created_at is 'When the row was inserted.';
comment on column users.updated_at is 'When the row was last changed through the API.';

-- Statements run in READ COMMITTED, and a statement's snapshot is older than any
-- lock it waits for: after the wait it would not see the row it waited for. A
-- volatile function takes a new snapshot for each of its queries. So whoever
-- gives a user a name asks here first, which makes a taken name an answer
-- instead of a unique violation (docs/adr/0002).
create function lock_username(wanted text) returns integer
language plpgsql volatile as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('username:' || lower(wanted), 0));
    return (select id from users where lower(username) = lower(wanted));
end
$$;

comment on function lock_username(text) is
    'Makes others who want this username wait until the transaction ends; returns the id of the user who has it, or null.';

create function rfc3339(moment timestamptz) returns text
language sql stable parallel safe
return to_char(moment at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

comment on function rfc3339(timestamptz) is 'A moment as RFC 3339 text in UTC, to the microsecond.';

create function user_json(account users, admin_username text) returns jsonb
language sql stable parallel safe
return jsonb_build_object(
    'user_id', account.id,
    'public_id', account.public_id,
    'username', account.username,
    'display_name', account.display_name,
    'is_admin', account.is_admin or account.username = admin_username,
    'disabled', account.disabled,
    'created_at', rfc3339(account.created_at),
    'updated_at', rfc3339(account.updated_at)
);

comment on function user_json(users, text) is
    'A user as the HTTP API shows it. is_admin is what the user may do, whatever gives the right.';
