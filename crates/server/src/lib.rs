//! `auth-server`: the component on an embedded wasmtime, and what Spin would
//! give it.
//!
//! Towards the component this host behaves as Spin 3.6 and 4.0 do, and where
//! the two differ, or lose something, like the stricter one: what passes the
//! tests here works there.

mod admission;
pub mod component;
mod connections;
pub mod host;
pub mod http;
mod listener;
pub mod manifest;
mod metrics;
mod routes;
