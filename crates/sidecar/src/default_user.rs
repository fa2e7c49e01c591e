//! The user that exists after the first start.

use sqlx::PgConnection;

use crate::config::DefaultUser;
use edd_auth_rules::public_id;

/// The statement of `POST /admin/users`: the default user comes into being as
/// every other user does, event included.
const CREATE: &str = include_str!("../../../src/user/create.sql");

/// Public ids that are tried.
const MAX_TRIES: usize = 8;

/// What became of the default user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was missing and is there now.
    Created,
    /// It was there, and is left as it is, password and all.
    Present,
}

/// Creates the default user if nobody has its name.
///
/// # Errors
///
/// A database error, or a hash that can't be computed.
pub async fn ensure(connection: &mut PgConnection, user: &DefaultUser) -> anyhow::Result<Outcome> {
    let present: bool =
        sqlx::query_scalar("select exists (select from users where canonical_username = $1)")
            .bind(user.username.canonical())
            .fetch_one(&mut *connection)
            .await?;
    if present {
        return Ok(Outcome::Present);
    }
    let password = user.password.clone();
    let hash = tokio::task::spawn_blocking(move || password.hash()).await??;
    for _ in 0..MAX_TRIES {
        let created: serde_json::Value = sqlx::query_scalar(CREATE)
            .bind(public_id::generate())
            .bind(user.username.as_str())
            .bind(None::<String>)
            .bind(&hash)
            .bind("")
            .bind(None::<String>)
            .bind(None::<String>)
            .bind(user.username.canonical())
            .fetch_one(&mut *connection)
            .await?;
        match created["outcome"].as_str() {
            Some("created") => return Ok(Outcome::Created),
            Some("username_taken") => return Ok(Outcome::Present),
            Some("retry") => {}
            _ => anyhow::bail!("user::create: unexpected outcome {}", created["outcome"]),
        }
    }
    anyhow::bail!("{MAX_TRIES} random public ids were all taken, or the name is, by an older row")
}
