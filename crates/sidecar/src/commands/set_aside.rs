//! `auth-sidecar requeue` and `drop`: rows that the relay has set aside.

use anyhow::Context;
use clap::Args;
use edd_auth_sidecar::config;
use edd_auth_sidecar::set_aside::{self, NotSetAside, SetAside};
use sqlx::postgres::PgConnection;
use sqlx::{ConnectOptions, Connection};

use crate::{Database, PROGRAM};

/// Arguments of `requeue`.
#[derive(Args)]
pub(crate) struct Requeue {
    #[command(flatten)]
    database: Database,
    /// Every row that was set aside
    #[arg(long, conflicts_with = "ids", required_unless_present = "ids")]
    all: bool,
    /// Rows, by the ids that `status` shows
    #[arg(value_name = "ID")]
    ids: Vec<i64>,
}

/// Arguments of `drop`.
#[derive(Args)]
pub(crate) struct Drop {
    #[command(flatten)]
    database: Database,
    /// Rows, by the ids that `status` shows
    #[arg(value_name = "ID", required = true)]
    ids: Vec<i64>,
}

/// Has the relay try rows again.
pub(crate) async fn requeue(args: Requeue) -> anyhow::Result<()> {
    let mut connection = connect(args.database).await?;
    let ids = (!args.all).then_some(args.ids);
    let rows = set_aside::requeue(&mut connection, ids.as_deref()).await.map_err(explain)?;
    connection.close().await?;
    print(&rows, "tried again");
    Ok(())
}

/// Removes rows.
pub(crate) async fn drop(args: Drop) -> anyhow::Result<()> {
    let mut connection = connect(args.database).await?;
    let rows = set_aside::remove(&mut connection, &args.ids).await.map_err(explain)?;
    connection.close().await?;
    print(&rows, "dropped");
    Ok(())
}

async fn connect(database: Database) -> anyhow::Result<PgConnection> {
    let options = config::database(database.database_url, PROGRAM)?;
    options.connect().await.context("database")
}

fn explain(error: anyhow::Error) -> anyhow::Error {
    if error.is::<NotSetAside>() { error } else { error.context("database") }
}

fn print(rows: &[SetAside], fate: &str) {
    for row in rows {
        println!("{fate}: {row}");
    }
    println!("{fate}: {} rows", rows.len());
}
