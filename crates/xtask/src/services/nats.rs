//! A private nats-server with JetStream.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;

use super::{Certificate, Home, kept_port};
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
        Self::start_with(home, None, "")
    }

    /// The same, which asks for TLS when it has a certificate, with more lines of
    /// its configuration file.
    ///
    /// # Errors
    ///
    /// When nats-server is missing or does not start.
    pub fn start_with(
        home: &Home,
        certificate: Option<&Certificate>,
        configuration: &str,
    ) -> anyhow::Result<Self> {
        let program = install::find("nats-server").context("nats-server is missing")?;
        let store = home.private_directory("nats")?;
        let port = kept_port(&home.directory().join("nats.port"))?;
        let mut command = home.command(&program);
        command
            .args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--jetstream"])
            .arg("--store_dir")
            .arg(&store);
        if let Some(certificate) = certificate {
            let [file, key] = certificate.write(home, &store)?;
            command.arg("--tls").arg("--tlscert").arg(file).arg("--tlskey").arg(key);
            if let Some(authority) = &certificate.clients {
                let file = store.join("clients.crt");
                home.write(&file, authority)?;
                command.arg("--tlsverify").arg("--tlscacert").arg(file);
            }
        }
        if !configuration.is_empty() {
            let file = store.join("nats.conf");
            home.write(&file, configuration)?;
            command.arg("--config").arg(&file);
        }
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
