//! Where NATS is.

use async_nats::ServerAddr;

/// The servers of NATS, one after the other.
pub(super) struct Servers {
    configured: Vec<ServerAddr>,
    known: Vec<ServerAddr>,
    attempts: usize,
}

impl Servers {
    pub(super) fn new(configured: &[ServerAddr]) -> Self {
        Self { configured: configured.to_vec(), known: Vec::new(), attempts: 0 }
    }

    /// The servers of `NATS_URL`, then the others that they have told of.
    pub(super) fn next(&mut self) -> ServerAddr {
        let place = self.attempts % (self.configured.len() + self.known.len());
        self.attempts += 1;
        self.configured.iter().chain(&self.known).nth(place).expect("below the count").clone()
    }

    /// After a success: the servers that are known by now.
    pub(super) fn learn(&mut self, servers: &[ServerAddr]) {
        self.attempts = 0;
        self.known =
            servers.iter().filter(|server| !self.configured.contains(server)).cloned().collect();
    }
}
