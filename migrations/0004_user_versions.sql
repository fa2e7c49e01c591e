-- Versions of users, the last administrator, search.

-- Consumers apply an event only when its version is higher than the one they
-- have: a snapshot, a repeated delivery and a replay of the stream then all end
-- in the same state (docs/adr/0012).
alter table users add column version bigint not null default 1;

comment on column users.version is
    'Rises by one with each change that UserUpdated announces; the ETag of the user.';

-- Events that wait were written before there were versions.
with numbered as (
    select id, row_number() over (partition by entity_id order by id) as version
    from outbox
    where published_at is null and kind in ('UserCreated', 'UserUpdated', 'UserDeleted')
)
update outbox set data = data || jsonb_build_object('version', numbered.version)
from numbered
where outbox.id = numbered.id;

update users set version = waiting.version
from (
    select entity_id, max((data ->> 'version')::bigint) as version
    from outbox
    where published_at is null and kind in ('UserCreated', 'UserUpdated')
    group by entity_id
) as waiting
where users.public_id = waiting.entity_id;

-- What user_json was, with the version.
create function user_profile(account users, admin_username text) returns jsonb
language sql stable parallel safe
return jsonb_build_object(
    'user_id', account.id,
    'public_id', account.public_id,
    'username', account.username,
    'display_name', account.display_name,
    'is_admin', account.is_admin or account.username = admin_username,
    'disabled', account.disabled,
    'created_at', rfc3339(account.created_at),
    'updated_at', rfc3339(account.updated_at),
    'version', account.version
);

comment on function user_profile(users, text) is
    'A user as the HTTP API shows it, and its version. is_admin is what the user may do, whatever gives the right.';

create function user_event(account users) returns jsonb
language sql immutable parallel safe
return jsonb_build_object(
    'user_id', account.id,
    'public_id', account.public_id,
    'username', account.username,
    'display_name', account.display_name,
    'version', account.version
);

comment on function user_event(users) is
    'A user as the events UserCreated and UserUpdated, and the snapshot, show it.';

create function version_matches(version bigint, wanted text) returns boolean
language sql immutable parallel safe
return wanted is null or version = any (string_to_array(wanted, ',')::bigint[]);

comment on function version_matches(bigint, text) is
    'If-Match (RFC 9110, section 13.1.1): whether a version is one of those in a list like 3,4; a null list is no condition.';

-- Few rows of many.
create index users_is_admin_idx on users (id) where is_admin;

-- Two administrators who demote each other at the same moment would both see
-- the other one still there. So whoever takes an administrator away asks here,
-- after the row and the name, before the rows of sessions and service accounts.
create function another_admin_exists(than integer, admin_username text) returns boolean
language plpgsql volatile as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('administrators', 0));
    return exists (select from users where is_admin and not disabled and id <> than)
        or exists (select from users where username = admin_username and not disabled and id <> than);
end
$$;

comment on function another_admin_exists(integer, text) is
    'Makes others who want to take an administrator away wait until the transaction ends; returns whether somebody else is one.';

-- Part of PostgreSQL, and trusted: the owner of the database may create it.
create extension if not exists pg_trgm;

-- No name has a line feed, so no text that is looked for reaches from one into
-- the other.
create index users_search_idx on users using gin (
    (lower(username) || E'\n' || lower(coalesce(display_name, ''))) gin_trgm_ops
)
-- Users are looked for more often than they change their names: no list of
-- changes that each search would have to read as well.
with (fastupdate = off);

-- Planned anew for each text: a rare one is found through the index, a frequent
-- one by reading users in their order until the page is full. A plan for any
-- text, which PostgreSQL makes of a statement that is executed often, would
-- read a million users for a rare one.
create function search_users(wanted text, after_id integer, how_many bigint) returns setof users
language plpgsql stable set plan_cache_mode = force_custom_plan as $$
begin
    return query
        select * from users
        where lower(username) || E'\n' || lower(coalesce(display_name, ''))
              like '%' || replace(replace(replace(lower(wanted), '\', '\\'), '%', '\%'), '_', '\_') || '%'
          and id > after_id
        order by id
        limit how_many;
end
$$;

comment on function search_users(text, integer, bigint) is
    'Users whose username or display name contains a text, without regard to case, by id.';
