//! Commands that an operator gives now and then, a file each.

pub(crate) mod import;
pub(crate) mod reconcile;
pub(crate) mod set_aside;
