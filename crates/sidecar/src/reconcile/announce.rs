//! Corrective events: what became of entities of which the stream says more than the
//! database knows.

use anyhow::{Context, bail};
use edd_auth_events::EventData;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::query::QueryScalar;
use sqlx::{Connection, Postgres};

use super::unknown::Entity;

/// Makes sure that the role may change what has events, before anything is changed.
pub(super) async fn check_role(connection: &mut PgConnection) -> anyhow::Result<()> {
    let (role, may): (String, bool) = sqlx::query_as(
        "select current_user::text, \
                has_table_privilege('users', 'select, update') \
                and has_table_privilege('service_accounts', 'select, update') \
                and has_table_privilege('sessions', 'select, delete') \
                and has_table_privilege('outbox', 'select, insert, update') \
                and has_sequence_privilege('users_id_seq', 'select, update')",
    )
    .fetch_one(connection)
    .await
    .context("database")?;
    if !may {
        bail!(
            "--announce changes users, service accounts and sessions, which the role {role} may \
             not; run it as the owner of the database. Nothing was changed"
        );
    }
    Ok(())
}

/// Has ids of new users begin after one that consumers have seen. Returns whether they
/// would have begun before. Never taken back: PostgreSQL does not roll sequences back.
pub(super) async fn skip_user_ids(
    connection: &mut PgConnection,
    seen: i32,
    dry_run: bool,
) -> anyhow::Result<bool> {
    let statement = if dry_run {
        "select last_value from users_id_seq where last_value < $1"
    } else {
        "select setval('users_id_seq', $1) from users_id_seq where last_value < $1"
    };
    let skipped: Option<i64> = sqlx::query_scalar(statement)
        .bind(i64::from(seen))
        .fetch_optional(connection)
        .await
        .context("database")?;
    Ok(skipped.is_some())
}

/// Writes the events about each entity, one statement each, and returns what was written.
pub(super) async fn announce(
    connection: &mut PgConnection,
    entities: &[&Entity],
    dry_run: bool,
) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for entity in entities {
        let mut transaction = connection.begin().await.context("database")?;
        let written = statement(entity).fetch_all(&mut *transaction).await.context("database")?;
        if dry_run {
            transaction.rollback().await?;
        } else {
            transaction.commit().await?;
        }
        lines.extend(written);
    }
    Ok(lines)
}

/// The statement about an entity. What its last event says of it is used only where the
/// tables have nothing.
fn statement(entity: &Entity) -> QueryScalar<'_, Postgres, String, PgArguments> {
    let version = entity.version;
    let user = |public_id: &str, user_id: i32, username: &str| {
        sqlx::query_scalar(include_str!("announce_user.sql"))
            .bind(public_id.to_owned())
            .bind(version)
            .bind(user_id)
            .bind(username.to_owned())
    };
    let session = |id: String, user_id: i32, public_id: &str| {
        sqlx::query_scalar(include_str!("announce_session.sql"))
            .bind(id)
            .bind(user_id)
            .bind(public_id.to_owned())
    };
    let identity = |id: &str, user_id: i32, public_id: &str| {
        sqlx::query_scalar(include_str!("announce_identity.sql"))
            .bind(id.to_owned())
            .bind(version)
            .bind(user_id)
            .bind(public_id.to_owned())
    };
    match &entity.last {
        EventData::UserCreated(data) => user(&data.public_id, data.user_id, &data.username),
        EventData::UserUpdated(data) => user(&data.public_id, data.user_id, &data.username),
        EventData::UserDeleted(data) => user(&data.public_id, data.user_id, &data.username),
        EventData::SessionCreated(data) => {
            session(data.session_id.to_string(), data.user_id, &data.public_id)
        }
        EventData::SessionInvalidated(data) => {
            session(data.session_id.to_string(), data.user_id, &data.public_id)
        }
        EventData::IdentityPermissionsUpdated(data) => {
            identity(&data.service_account_id, data.user_id, &data.public_id)
        }
        EventData::IdentityPermissionsDeleted(data) => {
            identity(&data.service_account_id, data.user_id, &data.public_id)
        }
    }
}
