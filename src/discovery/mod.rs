//! What others need to verify the tokens of sessions without asking.
//!
//! A token that verifies may be one of a session that has ended: who has to know
//! asks `POST /introspect`, or follows the events.

pub(crate) mod jwks;
pub(crate) mod openid_configuration;
