//! Where NATS is.

use async_nats::ServerAddr;

/// The servers of NATS, one after the other.
pub(super) struct Servers {
    first: ServerAddr,
    known: Vec<ServerAddr>,
    attempts: usize,
}

impl Servers {
    pub(super) fn new(first: ServerAddr) -> Self {
        Self { first, known: Vec::new(), attempts: 0 }
    }

    /// The server of `NATS_URL`, then the others that it has told of.
    pub(super) fn next(&mut self) -> ServerAddr {
        let place = self.attempts % (self.known.len() + 1);
        self.attempts += 1;
        place.checked_sub(1).map_or(&self.first, |place| &self.known[place]).clone()
    }

    /// After a success: the servers that are known by now.
    pub(super) fn learn(&mut self, servers: &[ServerAddr]) {
        self.attempts = 0;
        self.known = servers.iter().filter(|server| **server != self.first).cloned().collect();
    }
}
