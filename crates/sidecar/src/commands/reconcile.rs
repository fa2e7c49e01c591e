//! `auth-sidecar reconcile`.

use anyhow::Context;
use clap::Args;
use edd_auth_sidecar::housekeeping::Retention;
use edd_auth_sidecar::nats::NatsArgs;
use edd_auth_sidecar::reconcile::{self, Options};
use edd_auth_sidecar::{config, stream};
use sqlx::{ConnectOptions, Connection};

use crate::{Database, PROGRAM, connect};

/// Arguments of `reconcile`.
#[derive(Args)]
pub(crate) struct Reconcile {
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    nats: NatsArgs,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Also write events that tell consumers what became of what only the stream knows:
    /// after the database was restored to an earlier point. Needs the owner of the database
    ///
    /// What the tables have is announced as it is, with a higher version; what they have
    /// not, as deleted; a session that consumers have seen end is ended. New users get ids
    /// that the stream has not seen.
    #[arg(long)]
    announce: bool,
    /// Days that the outbox keeps a published event, as `run` has it
    #[arg(long, env = "OUTBOX_RETENTION_DAYS", value_name = "DAYS",
          default_value_t = Retention::default().outbox_days,
          value_parser = clap::value_parser!(u16).range(1..))]
    outbox_retention_days: u16,
}

/// Something is left to be done by a person.
#[derive(Debug, thiserror::Error)]
#[error("{0} findings are left; `auth-sidecar reconcile --help` says what to do")]
pub(crate) struct FindingsLeft(usize);

/// Compares outbox and stream, and mends.
pub(crate) async fn reconcile(args: Reconcile) -> anyhow::Result<()> {
    let database = config::database(args.database.database_url, PROGRAM)?;
    let jetstream = stream::context(connect(&args.nats.required()?).await?);
    let mut connection = database.connect().await.context("database")?;
    let options = Options {
        outbox_days: args.outbox_retention_days,
        announce: args.announce,
        dry_run: args.dry_run,
    };
    let report = reconcile::run(&mut connection, &jetstream, options).await?;
    connection.close().await?;
    print!("{report}");
    match report.left() {
        0 => Ok(()),
        left => Err(FindingsLeft(left).into()),
    }
}
