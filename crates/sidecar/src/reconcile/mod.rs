//! `auth-sidecar reconcile`: holds outbox and stream against each other, and mends what
//! they do not agree about (docs/adr/0021).
//!
//! Safe beside a relay: only what was in the stream or marked before the stream was read
//! is judged, and each change is made only to a row that is still as it was read.

mod announce;
mod index;
mod messages;
mod repairs;
mod report;
mod rows;
mod unknown;

use anyhow::{Context, bail};
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{State, Stream};
use async_nats::jetstream::{self, ErrorCode};
use edd_auth_events::STREAM;
use sqlx::PgConnection;

pub use report::Report;

use crate::migrate;
use index::Index;
use messages::Part;
use rows::Faults;
use unknown::Unknown;

/// What is to be done about what is found.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Days that the outbox keeps a published row. What the stream holds for longer can't
    /// be told from what the database has never known.
    pub outbox_days: u16,
    /// Whether consumers are told what became of entities of which the stream says more
    /// than the database knows.
    pub announce: bool,
    /// Whether all is left as it is.
    pub dry_run: bool,
}

/// Compares, and mends.
///
/// # Errors
///
/// When the database, JetStream or one of its messages can't be read, when the schema is
/// older than this program, when the stream is that of another database, or when the role
/// may not do what was asked for. What was mended before stays mended.
pub async fn run(
    connection: &mut PgConnection,
    jetstream: &jetstream::Context,
    options: Options,
) -> anyhow::Result<Report> {
    check_schema(connection).await?;
    if options.announce {
        announce::check_role(connection).await?;
    }
    let mut stream = find(jetstream).await?;
    let before = state(&mut stream).await?;
    let part = messages::read(&stream, before.first_sequence, before.last_sequence).await?;
    let messages = part.events.len() + part.others.len();
    let Part { events, others } = part;
    let mut index: Index = events.into_iter().collect();
    let (rows, suspects) = rows::suspects(connection, &mut index).await.context("database")?;

    // What was published since the stream was read; and what it has dropped since is not lost.
    let after = state(&mut stream).await?;
    let newer = messages::read(&stream, before.last_sequence + 1, after.last_sequence).await?;
    let newer: Index = newer.events.into_iter().collect();
    let faults = Faults::among(&suspects, &index, &newer, after.first_sequence);
    drop(suspects);

    let mut unread = index.unknown();
    unread.extend(others);
    unread.sort_unstable_by_key(|sequence| std::cmp::Reverse(*sequence));
    let since = oldest_row(connection, options.outbox_days).await?;
    let unknown = Unknown::read(&stream, unread, since).await?;
    check_stream(&index, &unknown)?;
    let repeated = index.repeated();
    drop(index);

    let repairs = faults.mend(connection, options.dry_run).await.context("database")?;
    let report =
        Report { dry_run: options.dry_run, messages, rows, repeated, repairs, ..Report::default() };
    answer(connection, report, unknown, options).await
}

/// Tells what the database knows nothing of, and announces what is true when it is asked
/// to.
async fn answer(
    connection: &mut PgConnection,
    mut report: Report,
    unknown: Unknown,
    options: Options,
) -> anyhow::Result<Report> {
    let unanswered = unknown.unanswered(connection).await?;
    report.unanswered = unanswered.iter().map(ToString::to_string).collect();
    report.open = unanswered.len();
    if options.announce {
        // Before anything else: who gets a number that consumers know is taken for another.
        if let Some(seen) = unknown.highest_user_id
            && announce::skip_user_ids(connection, seen, options.dry_run).await?
        {
            report.user_ids_after = Some(seen);
        }
        report.announced = announce::announce(connection, &unanswered, options.dry_run).await?;
        report.open = unknown.unanswered(connection).await?.len();
    }
    report.unknown = unknown;
    Ok(report)
}

/// Of another database's stream all would be unknown, and what is in the outbox lost.
fn check_stream(index: &Index, unknown: &Unknown) -> anyhow::Result<()> {
    if unknown.events > 0 && !index.any_known() {
        bail!(
            "the stream {STREAM} has {} events, and the outbox knows none of them: it is the \
             stream of another database, or the database is from before all of it. Nothing was \
             changed",
            unknown.events
        );
    }
    Ok(())
}

async fn check_schema(connection: &mut PgConnection) -> anyhow::Result<()> {
    let newest = migrate::newest_version();
    let applied = migrate::applied(connection).await.context("database")?;
    let applied = applied.into_iter().max().unwrap_or(0);
    if applied < newest {
        bail!("the schema has version {applied}, this program brings {newest}; run `migrate`");
    }
    Ok(())
}

async fn find(jetstream: &jetstream::Context) -> anyhow::Result<Stream> {
    jetstream.get_stream(STREAM).await.map_err(|error| match error.kind() {
        GetStreamErrorKind::JetStream(reason)
            if reason.error_code() == ErrorCode::STREAM_NOT_FOUND =>
        {
            anyhow::anyhow!("there is no stream {STREAM}; `auth-sidecar run` or `relay` creates it")
        }
        _ => anyhow::Error::new(error).context(format!("can't read the stream {STREAM}")),
    })
}

async fn state(stream: &mut Stream) -> anyhow::Result<State> {
    let info = stream.info().await.context("can't read the state of the stream")?;
    Ok(info.state.clone())
}

/// When the oldest row that is sure to be there was published, in seconds since 1970.
async fn oldest_row(connection: &mut PgConnection, days: u16) -> anyhow::Result<i64> {
    sqlx::query_scalar("select extract(epoch from now() - make_interval(days => $1))::bigint")
        .bind(i32::from(days))
        .fetch_one(connection)
        .await
        .context("database")
}
