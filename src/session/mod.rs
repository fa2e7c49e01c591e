//! Sessions: from login to logout.

pub(crate) mod login;
pub(crate) mod logout;
