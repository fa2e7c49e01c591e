//! Black-box tests: the built component in the embedded host, a real PostgreSQL,
//! a real nats-server. `cargo xtask test` builds the first and starts the second.

mod events;
mod harness;
mod imports;
mod login;
mod logout;
mod me;
mod processes;
mod protocol;
mod readiness;
mod relay;
mod sql;
mod tokens;
mod users;
