//! What is left behind: the tables, and the stream.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, consumer};
use futures::StreamExt;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};
use tokio::time::timeout;

/// How long the next message of a stream may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// All of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Evidence {
    /// Table `users`.
    pub(crate) users: Vec<UserRow>,
    /// Table `sessions`.
    pub(crate) sessions: Vec<SessionRow>,
    /// Table `service_accounts`.
    pub(crate) accounts: Vec<AccountRow>,
    /// Table `api_tokens`.
    pub(crate) tokens: Vec<TokenRow>,
    /// Table `outbox`, by id.
    pub(crate) outbox: Vec<OutboxRow>,
    /// Table `audit_log`, by id.
    pub(crate) audit: Vec<AuditRow>,
    /// Stream `AUTH`, by sequence.
    pub(crate) stream: Vec<Message>,
}

/// A user.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct UserRow {
    pub(crate) id: i64,
    pub(crate) public_id: String,
    pub(crate) username: String,
    pub(crate) display_name: Option<String>,
    pub(crate) disabled: bool,
    pub(crate) version: i64,
    pub(crate) password_hash: String,
}

/// A session that has not ended.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct SessionRow {
    pub(crate) id: String,
    /// Public id of its user.
    pub(crate) user: String,
    /// Seconds since 1970.
    pub(crate) expires_at: i64,
}

/// A service account.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AccountRow {
    pub(crate) id: String,
    /// Public id of its owner.
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) scopes: Value,
    pub(crate) version: i64,
}

/// A token of a service account.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct TokenRow {
    pub(crate) id: String,
    pub(crate) account: String,
    pub(crate) name: String,
}

/// An event that waits, or has been published.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OutboxRow {
    pub(crate) id: i64,
    pub(crate) event_id: String,
    pub(crate) kind: String,
    pub(crate) entity_id: String,
    pub(crate) data: Value,
    /// Microseconds since 1970: those of its transaction, as in [`AuditRow`].
    pub(crate) occurred_at: i64,
    /// The same as text (RFC 3339).
    pub(crate) occurred_at_text: String,
    pub(crate) stream_seq: Option<u64>,
    pub(crate) last_error: Option<String>,
    pub(crate) is_set_aside: bool,
}

/// Who did what.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AuditRow {
    pub(crate) id: i64,
    pub(crate) occurred_at: i64,
    pub(crate) actor: Option<String>,
    pub(crate) action: String,
    pub(crate) outcome: String,
    pub(crate) reason: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) request_id: Option<String>,
}

/// A message of the stream.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    /// Every header, with all its values.
    pub(crate) headers: BTreeMap<String, Vec<String>>,
    /// The body; null when it is not JSON.
    pub(crate) payload: Value,
    /// When JetStream took it, in microseconds since 1970.
    pub(crate) stored_at: i64,
}

impl Message {
    /// The one value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        match self.headers.get(name)?.as_slice() {
            [value] => Some(value),
            _ => None,
        }
    }

    /// The id of its event.
    pub(crate) fn event_id(&self) -> Option<&str> {
        self.header("Nats-Msg-Id")
    }

    /// Kind, entity and what happened to it, as the subject has them:
    /// `auth.KIND.ENTITY.WHAT`.
    pub(crate) fn subject_parts(&self) -> Option<(&str, &str, &str)> {
        match self.subject.split('.').collect::<Vec<_>>().as_slice() {
            ["auth", kind, entity, what] => Some((kind, entity, what)),
            _ => None,
        }
    }
}

impl AuditRow {
    /// Whether it tells of something that happened.
    pub(crate) fn is_success(&self) -> bool {
        self.outcome == "success"
    }

    /// The id in its resource, which is of this kind.
    pub(crate) fn id_of(&self, kind: &str) -> Option<&str> {
        self.resource.as_deref()?.strip_prefix(kind)?.strip_prefix(':')
    }
}

const USERS: &str = "select to_jsonb(users) from users order by id";

const SESSIONS: &str = "\
    select jsonb_build_object('id', sessions.id, 'user', public_id, \
        'expires_at', extract(epoch from expires_at)::bigint) \
    from sessions left join users on users.id = user_id order by sessions.id";

const ACCOUNTS: &str = "\
    select to_jsonb(service_accounts) || jsonb_build_object('owner', public_id) \
    from service_accounts left join users on users.id = owner_id order by service_accounts.id";

const TOKENS: &str = "\
    select jsonb_build_object('id', id, 'account', service_account_id, 'name', name) \
    from api_tokens order by id";

const OUTBOX: &str = "\
    select to_jsonb(outbox) || jsonb_build_object(\
        'occurred_at', (extract(epoch from occurred_at) * 1000000)::bigint, \
        'occurred_at_text', to_char(occurred_at at time zone 'UTC', \
            'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), \
        'is_set_aside', set_aside_at is not null) \
    from outbox order by id";

const AUDIT: &str = "\
    select to_jsonb(audit_log) || jsonb_build_object(\
        'occurred_at', (extract(epoch from occurred_at) * 1000000)::bigint) \
    from audit_log order by id";

/// Reads all of it.
///
/// # Errors
///
/// When the database or the stream can't be read.
pub(crate) async fn read(database_url: &str, nats_url: &str) -> anyhow::Result<Evidence> {
    let mut database = PgConnectOptions::from_str(database_url)?.connect().await?;
    // Housekeeping goes on: one moment for all tables.
    sqlx::raw_sql("begin isolation level repeatable read read only").execute(&mut database).await?;
    let evidence = Evidence {
        users: rows(&mut database, USERS).await?,
        sessions: rows(&mut database, SESSIONS).await?,
        accounts: rows(&mut database, ACCOUNTS).await?,
        tokens: rows(&mut database, TOKENS).await?,
        outbox: rows(&mut database, OUTBOX).await?,
        audit: rows(&mut database, AUDIT).await?,
        stream: messages(nats_url).await?,
    };
    database.close().await?;
    Ok(evidence)
}

async fn rows<T: DeserializeOwned>(
    database: &mut PgConnection,
    sql: &'static str,
) -> anyhow::Result<Vec<T>> {
    let rows: Vec<Value> = sqlx::query_scalar(sql).fetch_all(database).await?;
    rows.into_iter()
        .map(|row| serde_json::from_value(row).with_context(|| sql.to_owned()))
        .collect()
}

/// Every message of the stream.
async fn messages(nats_url: &str) -> anyhow::Result<Vec<Message>> {
    let jetstream = jetstream::new(async_nats::connect(nats_url).await?);
    let mut stream = jetstream.get_stream("AUTH").await?;
    let count = stream.info().await?.state.messages;
    let consumer: consumer::Consumer<pull::Config> = stream
        .create_consumer(pull::Config {
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            ..pull::Config::default()
        })
        .await?;
    let mut delivered = consumer.messages().await?.take(usize::try_from(count)?);
    let mut messages = Vec::new();
    while let Some(message) = timeout(PATIENCE, delivered.next()).await.context("the stream")? {
        messages.push(Message::try_from(&message?)?);
    }
    Ok(messages)
}

impl TryFrom<&jetstream::Message> for Message {
    type Error = anyhow::Error;

    fn try_from(message: &jetstream::Message) -> anyhow::Result<Self> {
        let info = message.info().map_err(|error| anyhow::anyhow!("{error}"))?;
        let headers = message.headers.iter().flat_map(|headers| headers.iter());
        let text = |value: &async_nats::HeaderValue| value.to_string();
        Ok(Self {
            sequence: info.stream_sequence,
            subject: message.subject.to_string(),
            headers: headers
                .map(|(name, values)| (name.to_string(), values.iter().map(text).collect()))
                .collect(),
            payload: serde_json::from_slice(&message.payload).unwrap_or_default(),
            stored_at: i64::try_from(info.published.unix_timestamp_nanos() / 1000)?,
        })
    }
}
