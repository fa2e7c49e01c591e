//! The HTTP side of edd-cloud-auth: a Spin component for WASI 0.2.
//!
//! One instance serves one request. [`router`] finds the verb, the verb runs one
//! SQL statement (two at most), and the outbox rows are written by that same
//! statement. ARCHITECTURE.md has the map.

// The lints of the component's own target still find what nobody calls.
#![cfg_attr(
    not(target_arch = "wasm32"),
    expect(dead_code, reason = "without its entry point a native build calls nothing")
)]

mod account;
mod api_token;
mod audit;
mod authenticate;
mod browser;
mod config;
mod context;
mod db;
mod discovery;
mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod health;
mod http;
mod input;
mod openapi;
mod page;
mod precondition;
mod router;
mod service;
mod service_account;
mod session;
mod throttle;
mod token;
mod user;

/// The entry point that Spin and `auth-server` call for every request. Native
/// builds, which exist for unit tests, have nothing to export it to.
#[cfg(target_arch = "wasm32")]
#[expect(
    unsafe_code,
    clippy::same_length_and_capacity,
    reason = "what the macro generates for the component's ABI"
)]
mod entry {
    #[spin_sdk::http_component]
    async fn handle(request: spin_sdk::http::IncomingRequest) -> spin_sdk::http::Response {
        crate::http::serve(request).await
    }
}
