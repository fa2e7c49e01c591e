//! Whether the service lives, and whether it can work.

pub(crate) mod healthz;
pub(crate) mod readyz;
