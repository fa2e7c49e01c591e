//! `auth-sidecar status`: what is going on, for a person.

use async_nats::jetstream;
use edd_auth_events::STREAM;
use sqlx::PgConnection;

use crate::{lock, migrate, outbox, set_aside};

/// Describes schema, users, outbox and leader, a fact a line.
///
/// # Errors
///
/// A database error.
pub async fn database(connection: &mut PgConnection) -> anyhow::Result<String> {
    use std::fmt::Write;
    let mut text = String::new();
    let newest = migrate::newest_version();
    let applied = migrate::applied(connection).await?.into_iter().max().unwrap_or(0);
    if applied < newest {
        writeln!(
            text,
            "schema:    version {applied}, this program brings {newest}; run `auth-sidecar migrate`"
        )?;
        return Ok(text);
    }
    writeln!(text, "schema:    version {applied}")?;
    let (users, sessions): (i64, i64) = sqlx::query_as(
        "select (select count(*) from users), \
                (select count(*) from sessions where expires_at > now())",
    )
    .fetch_one(&mut *connection)
    .await?;
    writeln!(text, "users:     {users}, with {sessions} live sessions")?;
    let depth = outbox::depth(connection).await?;
    match depth.backlog {
        0 => writeln!(text, "outbox:    empty")?,
        backlog => writeln!(
            text,
            "outbox:    {backlog} events wait, the oldest for {} seconds",
            depth.age_seconds
        )?,
    }
    if let Some(reason) = outbox::last_failure(connection).await? {
        writeln!(text, "           not taken: {reason}")?;
    }
    if depth.set_aside > 0 {
        writeln!(text, "set aside: {} rows; the first of them:", depth.set_aside)?;
    }
    for (row, waiting) in set_aside::first(connection).await? {
        writeln!(text, "  {row} ({waiting} events of the entity wait behind it)")?;
    }
    let leader: Option<String> = sqlx::query_scalar(
        "select application_name || ' (PostgreSQL process ' || pid || ')' \
         from pg_locks join pg_stat_activity using (pid) \
         where locktype = 'advisory' and granted and objsubid = 1 \
           and database = (select oid from pg_database where datname = current_database()) \
           and (classid::bigint << 32) | objid::bigint = $1",
    )
    .bind(lock::RELAY)
    .fetch_optional(&mut *connection)
    .await?
    .flatten();
    writeln!(text, "leader:    {}", leader.as_deref().unwrap_or("none; nobody publishes"))?;
    Ok(text)
}

/// Describes the stream.
pub async fn stream(jetstream: &jetstream::Context) -> String {
    match jetstream.get_stream(STREAM).await {
        Ok(stream) => {
            let state = &stream.cached_info().state;
            format!(
                "stream:    {STREAM} has {} messages ({} bytes), the last with sequence {}\n",
                state.messages, state.bytes, state.last_sequence
            )
        }
        Err(error) => format!("stream:    {STREAM} can't be read: {error}\n"),
    }
}
