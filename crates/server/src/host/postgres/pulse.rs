//! Whether a PostgreSQL answers at all.
//!
//! One that is stopped, or behind a network that swallows everything, refuses nothing:
//! a statement waits as it does for a lock, or on a slow machine. What tells them apart
//! is whether the server answers somebody else meanwhile. So when a request has waited
//! for a while, it is asked, for all requests together, whether it does TLS: the one
//! question that needs no password and no free connection. When it does not answer, all
//! who wait are told, and who comes is told at once, until it answers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::select_ok;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// What there is to say of a server that does not answer.
pub(super) const NO_ANSWER: &str = "PostgreSQL does not answer";

/// After how long a request that waits has the server asked. Together with the time
/// that the answer may take, less than the two seconds within which every request has
/// to be answered.
const SUSPICION: Duration = Duration::from_millis(400);

/// How long the server may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often it is asked: while somebody waits, and while it does not answer.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// `SSLRequest`: its length, and the number that stands for it.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];

/// What is known of a server.
pub(super) struct Pulse {
    /// Name and port of each host of the connection string: one that answers is enough.
    hosts: Vec<(String, u16)>,
    silent: watch::Sender<bool>,
    probing: Mutex<bool>,
    /// Connections that were last used before are not used again.
    interrupted: Mutex<Option<Instant>>,
}

impl Pulse {
    /// Of the server that a connection string leads to.
    pub(super) fn of(config: &Config) -> Self {
        let ports = config.get_ports();
        let hosts = config.get_hosts().iter().enumerate().filter_map(|(place, host)| match host {
            Host::Tcp(name) => {
                let port = ports.get(place).or(ports.first()).copied().unwrap_or(5432);
                Some((name.clone(), port))
            }
            Host::Unix(_) => None,
        });
        Self {
            hosts: hosts.collect(),
            silent: watch::Sender::new(false),
            probing: Mutex::new(false),
            interrupted: Mutex::new(None),
        }
    }

    /// What comes of some work with the server; `None` when the server turns out not to
    /// answer, or is known not to.
    pub(super) async fn during<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> Option<T> {
        if *self.silent.borrow() {
            return None;
        }
        let silence = async {
            sleep(SUSPICION).await;
            let mut silent = self.silent.subscribe();
            self.probe_while_watched();
            // The sender lives as long as this does.
            let _ = silent.wait_for(|silent| *silent).await;
        };
        tokio::select! {
            biased;
            result = work => Some(result),
            () = silence => None,
        }
    }

    /// Whether a connection that was last used then may be used again.
    pub(super) fn trusts(&self, last_used: Instant) -> bool {
        let interrupted = *self.interrupted.lock().unwrap_or_else(PoisonError::into_inner);
        interrupted.is_none_or(|interrupted| last_used > interrupted)
    }

    /// Has no connection used again that was last used before now.
    pub(super) fn distrust(&self) {
        let mut interrupted = self.interrupted.lock().unwrap_or_else(PoisonError::into_inner);
        *interrupted = Some(Instant::now());
    }

    fn probe_while_watched(self: &Arc<Self>) {
        let mut probing = self.probing.lock().unwrap_or_else(PoisonError::into_inner);
        if !*probing {
            *probing = true;
            tokio::spawn(Arc::clone(self).probe());
        }
    }

    /// Asks again and again, until there is an answer and nobody waits.
    async fn probe(self: Arc<Self>) {
        loop {
            let answer = timeout(PROBE_TIMEOUT, self.ask()).await;
            let silent = !matches!(answer, Ok(Ok(())));
            if self.silent.send_replace(silent) != silent {
                if silent {
                    self.distrust();
                    tracing::error!("{NO_ANSWER}: requests are refused until it does");
                } else {
                    tracing::info!("PostgreSQL answers again");
                }
            }
            let mut probing = self.probing.lock().unwrap_or_else(PoisonError::into_inner);
            if !silent && self.silent.receiver_count() == 0 {
                *probing = false;
                return;
            }
            drop(probing);
            sleep(PROBE_INTERVAL).await;
        }
    }

    async fn ask(&self) -> std::io::Result<()> {
        let hosts = self.hosts.iter().map(|(name, port)| Box::pin(ask(name, *port)));
        select_ok(hosts).await.map(drop)
    }
}

/// Asks one host. Whatever it answers, it does answer.
async fn ask(name: &str, port: u16) -> std::io::Result<()> {
    let mut stream = TcpStream::connect((name, port)).await?;
    stream.write_all(&SSL_REQUEST).await?;
    stream.read_u8().await.map(drop)
}
