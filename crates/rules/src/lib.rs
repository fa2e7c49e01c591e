//! Rules that the component, the sidecar and the server must agree on.
//!
//! The component hashes the passwords of the admin API, the sidecar the default
//! user's; both, and the server, read the same durations and check the same
//! secrets. Each rule stands here once. No I/O.

pub mod go_duration;
pub mod guess;
pub mod member;
pub mod password;
pub mod public_id;
pub mod scope;
pub mod setting;
pub mod signing_key;
pub mod text;
