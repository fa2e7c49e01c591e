-- Service accounts: what programs of a user may do, and the tokens they show.

create table service_accounts (
    id         text        not null,
    owner_id   integer     not null,
    name       text        not null,
    scopes     jsonb       not null,
    version    bigint      not null default 1,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint service_accounts_pkey primary key (id),
    constraint service_accounts_owner_id_fkey foreign key (owner_id) references users (id) on delete cascade,
    constraint service_accounts_id_form check (id ~ '^[0-9A-Za-z]{6,32}$'),
    constraint service_accounts_name_length check (char_length(name) between 1 and 100),
    constraint service_accounts_scopes_object check (jsonb_typeof(scopes) = 'object')
);

create index service_accounts_owner_idx on service_accounts (owner_id, created_at, id);

comment on table service_accounts is 'Identities of programs, each owned by a user.';
comment on column service_accounts.id is 'Twelve random characters; names the account in paths and in NATS subjects.';
comment on column service_accounts.owner_id is 'Whose programs these are.';
comment on column service_accounts.name is 'What the owner calls it; need not be unique.';
comment on column service_accounts.scopes is
    'What it may do: an object of scope (root.owner[.resource[.id]]) to a list of actions.';
comment on column service_accounts.version is
    'Rises by one with each change of the scopes; in the events, and the ETag of the account.';
comment on column service_accounts.created_at is 'When the row was inserted.';
comment on column service_accounts.updated_at is 'When the scopes last changed.';

create table api_tokens (
    id                 text        not null,
    service_account_id text        not null,
    name               text        not null,
    sha256             bytea       not null,
    created_at         timestamptz not null default now(),
    expires_at         timestamptz,
    last_used_at       timestamptz,
    constraint api_tokens_pkey primary key (id),
    constraint api_tokens_service_account_id_fkey
        foreign key (service_account_id) references service_accounts (id) on delete cascade,
    constraint api_tokens_sha256_key unique (sha256),
    constraint api_tokens_sha256_length check (octet_length(sha256) = 32),
    constraint api_tokens_id_form check (id ~ '^[0-9A-Za-z]{6,32}$'),
    constraint api_tokens_name_length check (char_length(name) between 1 and 100)
);

create index api_tokens_service_account_idx on api_tokens (service_account_id, created_at, id);
create index api_tokens_expires_at_idx on api_tokens (expires_at) where expires_at is not null;

comment on table api_tokens is 'Tokens of service accounts. Only their hashes are kept.';
comment on column api_tokens.id is 'Twelve random characters; names the token in paths, and is no part of it.';
comment on column api_tokens.service_account_id is 'For whom the token speaks.';
comment on column api_tokens.name is 'What the owner calls it; need not be unique.';
comment on column api_tokens.sha256 is
    'SHA-256 of the whole token. Not a slow hash: the token has 190 random bits, which nobody guesses.';
comment on column api_tokens.created_at is 'When the token was made.';
comment on column api_tokens.expires_at is 'When it ends by itself; null means never.';
comment on column api_tokens.last_used_at is 'Its last use, to the minute.';

create function identity_event(identity service_accounts, owner_public_id text) returns jsonb
language sql immutable parallel safe
return jsonb_build_object(
    'service_account_id', identity.id,
    'user_id', identity.owner_id,
    'public_id', owner_public_id,
    'scopes', identity.scopes,
    'version', identity.version
);

comment on function identity_event(service_accounts, text) is
    'A service account as the event IdentityPermissionsUpdated, and the snapshot, show it.';

create function service_account_json(identity service_accounts) returns jsonb
language sql stable parallel safe
return jsonb_build_object(
    'service_account_id', identity.id,
    'name', identity.name,
    'scopes', identity.scopes,
    'version', identity.version,
    'created_at', rfc3339(identity.created_at),
    'updated_at', rfc3339(identity.updated_at)
);

comment on function service_account_json(service_accounts) is 'A service account as the HTTP API shows it.';

create function api_token_json(token api_tokens) returns jsonb
language sql stable parallel safe
return jsonb_build_object(
    'token_id', token.id,
    'name', token.name,
    'created_at', rfc3339(token.created_at),
    'expires_at', rfc3339(token.expires_at),
    'last_used_at', rfc3339(token.last_used_at)
);

comment on function api_token_json(api_tokens) is 'A token as the HTTP API shows it, once it has been made.';

-- Whoever deletes a user holds the lock on its row when calling this. Creating a
-- service account locks that row as well, so it has either committed, and then
-- the new snapshot of this function sees it, or it will find the user gone.
create function delete_service_accounts(of_user integer) returns bigint
language sql volatile as $$
    with deleted as (
        delete from service_accounts where owner_id = of_user returning id, version
    ), event as (
        insert into outbox (kind, entity_id, data)
        select 'IdentityPermissionsDeleted', deleted.id, jsonb_build_object(
            'service_account_id', deleted.id, 'user_id', users.id,
            'public_id', users.public_id, 'version', deleted.version + 1)
        from deleted join users on users.id = of_user
        order by deleted.id
    )
    select count(*) from deleted;
$$;

comment on function delete_service_accounts(integer) is
    'Deletes every service account of a user with its tokens, writes an IdentityPermissionsDeleted event for each, and returns how many there were.';

-- Counting needs the lock on the parent's row first, and a snapshot that is
-- newer than the lock.
create function count_service_accounts(of_user integer) returns bigint
language sql volatile as $$
    select count(*) from service_accounts where owner_id = of_user;
$$;

comment on function count_service_accounts(integer) is
    'How many service accounts a user has, seen from after whatever lock the caller has waited for.';

create function count_tokens(of_account text) returns bigint
language sql volatile as $$
    select count(*) from api_tokens
    where service_account_id = of_account and (expires_at is null or expires_at > now());
$$;

comment on function count_tokens(text) is
    'How many tokens of a service account have not expired, seen from after whatever lock the caller has waited for.';
