//! Black-box tests: the built component in the embedded host, a real PostgreSQL,
//! a real nats-server. `cargo xtask test` builds the first and starts the second.

mod account;
mod api_tokens;
mod audit;
mod browsers;
mod contract;
mod discovery;
mod equal_treatment;
mod events;
mod forgery;
mod harness;
mod housekeeping;
mod import;
mod imports;
mod introspect;
mod known_attacks;
mod login;
mod logout;
mod me;
mod mutations;
mod passwords;
mod meter;
mod processes;
mod protocol;
mod readiness;
mod relay;
mod security_document;
mod service_accounts;
mod sessions;
mod snapshot;
mod sql;
mod throttle;
mod tokens;
mod usernames;
mod users;
