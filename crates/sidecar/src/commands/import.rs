//! `auth-sidecar import`: users of another system.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use edd_auth_sidecar::config;
use edd_auth_sidecar::import::{self, Users};
use sqlx::{ConnectOptions, Connection};

use crate::{Database, PROGRAM};

/// Arguments of `import`.
#[derive(Args)]
pub(crate) struct Import {
    #[command(flatten)]
    database: Database,
    /// The users; - is standard input
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

/// How many problems of a file are printed.
const MAX_PROBLEMS: usize = 100;

/// Creates all users of a file, or none.
pub(crate) async fn import(args: Import) -> anyhow::Result<()> {
    let database = config::database(args.database.database_url, PROGRAM)?;
    let name = args.file.display();
    let text = match args.file.to_str() {
        Some("-") => std::io::read_to_string(std::io::stdin()),
        _ => std::fs::read_to_string(&args.file),
    };
    let text = text.with_context(|| format!("can't read {name}"))?;
    let refused = |problems: &[import::Problem]| {
        for problem in problems.iter().take(MAX_PROBLEMS) {
            eprintln!("{name}: {problem}");
        }
        anyhow::anyhow!("nothing was imported; wrong lines of {name}: {}", problems.len())
    };
    let mut users = Users::parse(&text).map_err(|problems| refused(&problems))?;
    let mut connection = database.connect().await.context("database")?;
    let count = users.len();
    let created = users.create(&mut connection, |done| eprintln!("{done} of {count} users")).await;
    if let Err(error) = created {
        return Err(match error.downcast_ref::<import::Refused>() {
            Some(import::Refused(problems)) => refused(problems),
            None => error.context("nothing was imported"),
        });
    }
    connection.close().await?;
    println!("imported {count} users");
    Ok(())
}
