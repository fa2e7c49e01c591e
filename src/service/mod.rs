//! What other services ask, with the key that the configuration gives them.

pub(crate) mod introspect;
pub(crate) mod snapshot;
