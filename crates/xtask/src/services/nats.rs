//! A private nats-server with JetStream.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;

use super::{Home, kept_port};
use crate::install;
use crate::process::Server;

/// A running nats-server. Stops when it is dropped; its streams stay.
pub struct Nats {
    server: Server,
    port: u16,
}

impl Nats {
    /// Starts the nats-server of `home`.
    ///
    /// # Errors
    ///
    /// When nats-server is missing or does not start.
    pub fn start(home: &Home) -> anyhow::Result<Self> {
        let program = install::find("nats-server").context("nats-server is missing")?;
        let store = home.private_directory("nats")?;
        let port = kept_port(&home.directory().join("nats.port"))?;
        let mut command = home.command(&program);
        command
            .args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream"])
            .arg("--store_dir")
            .arg(&store);
        let log = home.directory().join("nats.log");
        let mut server = Server::start("nats-server", &mut command, &log, Signal::SIGTERM)?;
        server.wait_until(Duration::from_secs(30), || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        })?;
        Ok(Self { server, port })
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The process.
    pub fn server(&mut self) -> &mut Server {
        &mut self.server
    }
}
