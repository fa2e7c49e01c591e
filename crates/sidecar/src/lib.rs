//! The background side of edd-cloud-auth: migrations, the default user,
//! housekeeping, the relay that drains the outbox to NATS JetStream, and what the
//! log service gets.
//!
//! `auth-sidecar` runs it as a process of its own beside Spin; `auth-server`
//! runs the same [`service::run`] inside.

pub mod arguments;
pub mod backoff;
pub mod causes;
pub mod config;
pub mod database_url;
pub mod default_user;
pub mod housekeeping;
pub mod import;
pub mod leader;
pub mod lock;
pub mod log_service;
pub mod logging;
pub mod metrics;
pub mod migrate;
pub mod nats;
pub mod ops;
pub mod outbox;
pub mod publish;
pub mod reconcile;
pub mod relay;
pub mod roles;
pub mod service;
pub mod set_aside;
pub mod statement;
pub mod status;
pub mod stream;
