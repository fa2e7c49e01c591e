//! The schema, applied by whoever comes first.

use std::borrow::Cow;

use edd_auth_rules::text;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlSafeStr};

/// SQLSTATE `insufficient_privilege`.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Number, name and text of every file in `migrations/`.
const MIGRATIONS: [(i64, &str, &str); 9] = [
    (1, "users", include_str!("../../../migrations/0001_users.sql")),
    (2, "outbox", include_str!("../../../migrations/0002_outbox.sql")),
    (3, "sessions", include_str!("../../../migrations/0003_sessions.sql")),
    (4, "user_versions", include_str!("../../../migrations/0004_user_versions.sql")),
    (5, "audit_log", include_str!("../../../migrations/0005_audit_log.sql")),
    (6, "service_accounts", include_str!("../../../migrations/0006_service_accounts.sql")),
    (7, "login_throttle", include_str!("../../../migrations/0007_login_throttle.sql")),
    (8, "canonical_usernames", include_str!("../../../migrations/0008_canonical_usernames.sql")),
    (9, "outbox_entities", include_str!("../../../migrations/0009_outbox_entities.sql")),
];

/// Applies what is missing. sqlx holds an advisory lock meanwhile, so that any
/// number of processes may do this at once; a migration and its record are one
/// transaction. Returns the numbers of the migrations that it applied.
///
/// # Errors
///
/// A database error; or a migration that was applied once and reads otherwise
/// now, or that this program does not know: both mean that another version of
/// the program has been here. [`NotAllowed`] when something is missing and the
/// connection's role may not change the schema.
pub async fn apply(connection: &mut PgConnection) -> anyhow::Result<Vec<i64>> {
    let mut new = Vec::new();
    let mut migrator = migrator();
    // A newer version has migrated already: migrations only add, so this one works.
    migrator.set_ignore_missing(true);
    // sqlx begins with the table of its own, for which one must be allowed to create
    // tables even if it is there. The sidecar's role is not.
    if applied(connection).await?.is_empty() || !is_current(connection, &migrator).await? {
        // sqlx's own lock, which can be held twice: who waits here for another process has
        // applied nothing of what that one does meanwhile.
        connection.lock().await?;
        let before = applied(connection).await?;
        migrator.run(&mut *connection).await.map_err(|error| {
            let found = before.last().copied().unwrap_or(0);
            if is_refused(&error) { NotAllowed { found }.into() } else { anyhow::Error::new(error) }
        })?;
        new = applied(connection).await?;
        new.retain(|version| !before.contains(version));
        connection.unlock().await?;
    }
    canonicalize_usernames(connection).await?;
    Ok(new)
}

/// Computes `users.canonical_username` for rows that have none: those from before
/// the column, and those that a component from before it has written since.
async fn canonicalize_usernames(connection: &mut PgConnection) -> anyhow::Result<()> {
    let users: Vec<(i32, String, String)> = sqlx::query_as(
        "select id, public_id, username from users where canonical_username is null order by id",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut taken = Vec::new();
    for (id, public_id, text) in users {
        // What was once accepted stays: it may have characters that are refused now.
        let username = text::canonical(&text);
        // Unless somebody has renamed the user meanwhile.
        let sql = "update users set canonical_username = $2 \
                   where id = $1 and username = $3 and canonical_username is null";
        let updated =
            sqlx::query(sql).bind(id).bind(&username).bind(&text).execute(&mut *connection).await;
        if let Err(sqlx::Error::Database(error)) = &updated
            && error.constraint() == Some("users_canonical_username_key")
        {
            taken.push(format!("{username:?} of {public_id}"));
            continue;
        }
        updated?;
    }
    if !taken.is_empty() {
        anyhow::bail!(
            "names that are other spellings of somebody else's: {}; rename these users with the \
             version before this one",
            taken.join(", ")
        );
    }
    Ok(())
}

/// Migrations are missing, or read otherwise than when they were applied, and the
/// role may not do anything about it.
#[derive(Debug, thiserror::Error)]
#[error(
    "the schema (version {found}) is not that of this program (version {newest}), and this role \
     may not change it: run `auth-sidecar migrate` as the owner of the database",
    newest = newest_version()
)]
pub struct NotAllowed {
    found: i64,
}

/// Whether every migration that this program knows was applied as it reads.
async fn is_current(connection: &mut PgConnection, migrator: &Migrator) -> sqlx::Result<bool> {
    let applied: Vec<(i64, Vec<u8>, bool)> =
        sqlx::query_as("select version, checksum, success from _sqlx_migrations")
            .fetch_all(connection)
            .await?;
    let is_applied = |migration: &Migration| {
        applied.iter().any(|(version, checksum, _)| {
            *version == migration.version && checksum[..] == migration.checksum[..]
        })
    };
    Ok(applied.iter().all(|(_, _, success)| *success) && migrator.iter().all(is_applied))
}

fn is_refused(error: &MigrateError) -> bool {
    let (MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _)) = error else {
        return false;
    };
    cause
        .as_database_error()
        .is_some_and(|error| error.code().as_deref() == Some(INSUFFICIENT_PRIVILEGE))
}

/// The newest migration that this program knows.
#[must_use]
pub fn newest_version() -> i64 {
    MIGRATIONS[MIGRATIONS.len() - 1].0
}

/// The numbers of the migrations that the database has.
///
/// # Errors
///
/// A database error.
pub async fn applied(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    let exists: bool = sqlx::query_scalar("select to_regclass('_sqlx_migrations') is not null")
        .fetch_one(&mut *connection)
        .await?;
    if !exists {
        return Ok(Vec::new());
    }
    sqlx::query_scalar("select version from _sqlx_migrations where success order by version")
        .fetch_all(connection)
        .await
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS
        .into_iter()
        .map(|(version, name, sql)| {
            Migration::new(
                version,
                Cow::Borrowed(name),
                MigrationType::Simple,
                sql.into_sql_str(),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(migrations)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_embedded() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .expect("the migrations are there")
            .filter_map(|entry| entry.expect("readable").file_name().into_string().ok())
            .filter(|name| name != "README.md")
            .collect();
        files.sort();
        let embedded: Vec<String> = MIGRATIONS
            .iter()
            .map(|(version, name, _)| format!("{version:04}_{name}.sql"))
            .collect();
        assert_eq!(files, embedded);
    }
}
