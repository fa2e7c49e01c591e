//! Who sends the requests.

use std::net::Ipv4Addr;

use super::{Client, name};
use crate::subject::PASSWORD;

/// A client that is logged in, as a user of its own, from an address of its own.
pub(super) struct Caller {
    client: Client,
    address: Ipv4Addr,
    username: String,
    token: String,
}

impl Caller {
    pub(super) fn log_in(client: Client, letter: char, number: u16) -> anyhow::Result<Self> {
        let [high, low] = number.to_be_bytes();
        let address = Ipv4Addr::new(10, 0, high, low);
        let username = name(letter, number.into());
        let token = client.login(address, &username, PASSWORD)?.token()?;
        Ok(Self { client, address, username, token })
    }

    pub(super) fn login(&self, password: &str, status: u16) -> anyhow::Result<()> {
        self.client.login(self.address, &self.username, password)?.expect(status).map(drop)
    }

    pub(super) fn me(&self) -> anyhow::Result<()> {
        self.client.me(&self.token)?.expect(200).map(drop)
    }

    /// Another display name each time: the same one would be no event.
    pub(super) fn change(&self, number: usize) -> anyhow::Result<()> {
        self.client.rename(&self.token, &format!("Name {number}"))?.expect(200).map(drop)
    }
}
