//! What a verb works with: the database and the configuration.

use std::net::{IpAddr, Ipv6Addr};

use edd_auth_rules::password::{HashError, Password, Verdict};

use crate::config::Config;
use crate::db::Database;
use crate::http::Request;

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

    /// What the audit log keeps of a request, as the text of a JSON object: the
    /// parameter `request` of the SQL function `audit_entry`.
    pub(crate) fn facts(&self, request: &Request) -> String {
        request.facts(self.config.trusted_proxy_hops)
    }

    /// What counts as one origin of guesses: an IPv4 address, or the first 64 bits
    /// of an IPv6 address, which is what one customer has of them.
    pub(crate) fn network(&self, request: &Request) -> String {
        match request.client_address(self.config.trusted_proxy_hops) {
            Some(IpAddr::V4(address)) => address.to_string(),
            Some(IpAddr::V6(address)) => {
                let prefix = u128::from(address) >> 64 << 64;
                format!("{}/64", Ipv6Addr::from(prefix))
            }
            None => "unknown".to_owned(),
        }
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
