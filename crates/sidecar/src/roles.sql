-- What the roles of the component and of the sidecar may do (docs/adr/0015).
--
-- `auth-sidecar migrate --app-role` runs this in a transaction, with quoted names in place
-- of {app}, {sidecar}, {schema} and {database}. It starts from nothing each time, so what
-- is not here is taken back. tests/e2e/least_privilege.rs has the result as a literal list.
--
-- A new statement, or a new column in one, is granted here. What the statements of the
-- version before need stays until the release after: both run during an upgrade.
--
-- Functions run with the rights of their caller (SECURITY INVOKER), so what they touch is
-- granted as well. Not needed: anything for triggers, whose functions are checked when the
-- trigger is made, and for ON DELETE CASCADE, which runs as the owner of the table.

-- Nobody but the owner makes anything here, not even for the length of a session.
revoke create on schema {schema} from public;
revoke create, temporary on database {database} from public;

revoke all on all tables in schema {schema} from public, {app}, {sidecar};
revoke all on all sequences in schema {schema} from public, {app}, {sidecar};
revoke all on schema {schema} from {app}, {sidecar};
revoke all on database {database} from {app}, {sidecar};

-- Functions are everybody's unless it is said otherwise. Those of extensions stay so:
-- they belong to the extension.
do $$
declare
    routine regprocedure;
begin
    for routine in
        select oid::regprocedure
        from pg_proc
        where pronamespace = (select oid from pg_namespace where nspname = current_schema())
          and not exists (
              select from pg_depend
              where classid = 'pg_proc'::regclass and objid = pg_proc.oid and deptype = 'e')
    loop
        execute format('revoke all on routine %s from public, {app}, {sidecar}', routine);
    end loop;
end
$$;

grant connect on database {database} to {app}, {sidecar};
grant usage on schema {schema} to {app}, {sidecar};

------------------------------------------------------------------------ the component

-- SELECT is on the table where a statement takes the row as a whole, `user_event(users)`
-- for one: that needs every column, those of the next migration included.

grant select, delete on users to {app};
grant insert (public_id, username, canonical_username, display_name, password_hash)
    on users to {app};
grant update (
    username, canonical_username, display_name, password_hash, is_admin, disabled, version,
    updated_at) on users to {app};
grant usage on sequence users_id_seq to {app};

grant select, delete on sessions to {app};
grant insert (id, user_id, expires_at, ip_address, user_agent) on sessions to {app};
-- No statement updates a session, but FOR KEY SHARE asks for UPDATE on a column: the one
-- that decides nothing.
grant update (user_agent) on sessions to {app};

grant select, delete on service_accounts to {app};
grant insert (id, owner_id, name, scopes) on service_accounts to {app};
grant update (scopes, version, updated_at) on service_accounts to {app};

grant select, delete on api_tokens to {app};
grant insert (id, service_account_id, name, sha256, expires_at) on api_tokens to {app};
grant update (last_used_at) on api_tokens to {app};

grant select (user_id, network, last_login_at) on known_networks to {app};
grant insert (user_id, network) on known_networks to {app};
grant update (last_login_at) on known_networks to {app};

grant select, delete on login_throttle to {app};
grant insert (key) on login_throttle to {app};
grant update (failures, since, last_at, refused_at) on login_throttle to {app};

-- Events are written and never read, but for the position that a snapshot includes.
grant insert (kind, entity_id, data) on outbox to {app};
grant select (published_at, stream_seq) on outbox to {app};
grant usage on sequence outbox_id_seq to {app};

-- What is written to the audit log stays as it is.
grant select on audit_log to {app};
grant insert (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    on audit_log to {app};
grant usage on sequence audit_log_id_seq to {app};

-- For /readyz.
grant select (version, success) on _sqlx_migrations to {app};

grant execute on function
    another_admin_exists(integer, text),
    api_token_json(api_tokens),
    audit_entry(text, text, text, text, text),
    count_service_accounts(integer),
    count_tokens(text),
    delete_service_accounts(integer),
    end_other_sessions(integer, text, text),
    end_sessions(integer, text),
    identity_event(service_accounts, text),
    lock_canonical_username(text),
    login_attempt(text, text, boolean),
    login_succeeded(text, text),
    login_throttle_key(text, text),
    rfc3339(timestamptz),
    search_users(text, integer, bigint),
    service_account_json(service_accounts),
    stand_in(text),
    user_event(users),
    user_profile(users, text),
    version_matches(bigint, text)
to {app};

-------------------------------------------------------------------------- the sidecar

-- Where it says FOR UPDATE SKIP LOCKED before it deletes, it needs UPDATE on a column.

-- Whether there is anything to migrate.
grant select (version, success, checksum) on _sqlx_migrations to {sidecar};

-- The default user comes into being through the component's user/create.sql, which takes
-- the row as a whole, and writes an event and an audit row.
grant select on users to {sidecar};
-- Names of rows from before there were canonical ones.
grant update (canonical_username) on users to {sidecar};
grant insert (public_id, username, canonical_username, display_name, password_hash)
    on users to {sidecar};
grant usage on sequence users_id_seq to {sidecar};
grant insert (kind, entity_id, data) on outbox to {sidecar};
grant usage on sequence outbox_id_seq to {sidecar};
grant insert (actor, action, outcome, reason, resource, ip_address, request_id, user_agent)
    on audit_log to {sidecar};
grant usage on sequence audit_log_id_seq to {sidecar};

-- The relay marks rows, and housekeeping removes them when they are old.
grant select (
    id, event_id, kind, entity_id, data, occurred_at, published_at, stream_seq, attempts,
    last_error, set_aside_at) on outbox to {sidecar};
grant update (published_at, stream_seq, attempts, last_error, set_aside_at) on outbox to {sidecar};
grant delete on outbox to {sidecar};

-- So it is with the log service and the audit log.
grant select (
    id, occurred_at, actor, action, outcome, reason, resource, ip_address, request_id,
    user_agent, pushed_at) on audit_log to {sidecar};
grant update (pushed_at) on audit_log to {sidecar};
grant delete on audit_log to {sidecar};

-- Housekeeping: sessions that have expired, and what else is too old.
grant select (id, user_id, expires_at) on sessions to {sidecar};
grant update (user_agent) on sessions to {sidecar};
grant delete on sessions to {sidecar};

grant select (id, expires_at) on api_tokens to {sidecar};
grant update (last_used_at) on api_tokens to {sidecar};
grant delete on api_tokens to {sidecar};

grant select (user_id, network, last_login_at) on known_networks to {sidecar};
grant update (last_login_at) on known_networks to {sidecar};
grant delete on known_networks to {sidecar};

grant select (key, last_at) on login_throttle to {sidecar};
grant update (refused_at) on login_throttle to {sidecar};
grant delete on login_throttle to {sidecar};

grant execute on function
    audit_entry(text, text, text, text, text),
    lock_canonical_username(text),
    rfc3339(timestamptz),
    user_event(users),
    user_profile(users, text)
to {sidecar};
