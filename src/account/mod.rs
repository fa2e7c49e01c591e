//! The caller's own account.

pub(crate) mod me;
pub(crate) mod password;
pub(crate) mod update;
