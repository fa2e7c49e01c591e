//! What a verb works with: the database and the configuration.

use edd_auth_rules::password::{HashError, Password, Verdict};

use crate::config::Config;
use crate::db::Database;

/// The first argument of every verb.
pub(crate) struct Context {
    /// The database of the service.
    pub(crate) db: Database,
    /// The variables, checked.
    pub(crate) config: Config,
}

impl Context {
    /// A context for one request.
    pub(crate) fn new(config: Config) -> Self {
        Self { db: Database::new(config.database_url.expose()), config }
    }

    /// Hashes a password. The connection is given back first: a hash takes a
    /// hundred times as long as a statement, and connections are few.
    pub(crate) fn hash(&self, password: &Password) -> Result<String, HashError> {
        self.db.release();
        password.hash()
    }

    /// Compares a password with a PHC string, without a connection as well.
    pub(crate) fn verify(&self, password: &Password, stored: &str) -> Result<Verdict, HashError> {
        self.db.release();
        password.verify(stored)
    }
}
