//! Whether a PostgreSQL answers at all.
//!
//! One that is stopped, or behind a network that swallows everything, refuses nothing:
//! a statement waits as it does for a lock, or on a slow machine. What tells them apart
//! is whether the server answers somebody else meanwhile. So when a request has waited
//! for a while, it is asked, for all requests together, whether it does TLS: the one
//! question that needs no password and no free connection. When it does not answer, all
//! who wait are told, and who comes is told at once, until it answers.
//!
//! One question proves nothing: its first packet may be lost, and the system sends that
//! again only after a second; or a name is not resolved just then. So it takes two in a
//! row, and no request must have been answered meanwhile.

use std::future::ready;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_postgres::Config;
use tokio_postgres::config::Host;

/// What there is to say of a server that does not answer.
pub(super) const NO_ANSWER: &str = "PostgreSQL does not answer";

/// After how long a request that waits has the server asked. Together with the time
/// that two answers may take, or with three when the server is heard for the last time
/// during the first, less than the two seconds within which every request has to be
/// answered.
const SUSPICION: Duration = Duration::from_millis(400);

/// How long the server may take to answer. When the answer is a failure, the next one is
/// not asked for before, so that what lasts for a moment does not fail both.
const PROBE_TIMEOUT: Duration = Duration::from_millis(600);

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
    /// When the server has last answered a request.
    heard: Mutex<Option<Instant>>,
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
            heard: Mutex::new(None),
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

    /// The server has just answered a request.
    pub(super) fn heard(&self) {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        *heard = Some(Instant::now());
    }

    /// It has, if the error is one that it has sent.
    pub(super) fn heard_in(&self, error: &tokio_postgres::Error) {
        if error.as_db_error().is_some() {
            self.heard();
        }
    }

    fn heard_since(&self, instant: Instant) -> bool {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.is_some_and(|heard| heard >= instant)
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
        // When the question before was asked, if it has failed.
        let mut failed_before = None;
        loop {
            let began = Instant::now();
            let answers = timeout(PROBE_TIMEOUT, self.answers()).await == Ok(true);
            let silent = !answers && self.is_silent_after(failed_before);
            failed_before = (!answers).then_some(began);
            self.tell(silent);
            let mut probing = self.probing.lock().unwrap_or_else(PoisonError::into_inner);
            if !silent && self.silent.receiver_count() == 0 {
                *probing = false;
                return;
            }
            drop(probing);
            let interval = if answers || silent { PROBE_INTERVAL } else { PROBE_TIMEOUT };
            sleep(interval.saturating_sub(began.elapsed())).await;
        }
    }

    /// Whether a failure means that the server is silent. While it is, every failure does.
    fn is_silent_after(&self, failed_before: Option<Instant>) -> bool {
        *self.silent.borrow() || failed_before.is_some_and(|began| !self.heard_since(began))
    }

    /// Tells everybody, and the log when that is news.
    fn tell(&self, silent: bool) {
        if self.silent.send_replace(silent) == silent {
            return;
        }
        if silent {
            self.distrust();
            tracing::error!("{NO_ANSWER}: requests are refused until it does");
        } else {
            tracing::info!("PostgreSQL answers again");
        }
    }

    /// Asks all hosts at once.
    async fn answers(&self) -> bool {
        let hosts = self.hosts.iter().map(|(name, port)| host_answers(name, *port));
        hosts.collect::<FuturesUnordered<_>>().any(ready).await
    }
}

async fn host_answers(name: &str, port: u16) -> bool {
    match lookup_host((name, port)).await {
        Ok(addresses) => any_answers(addresses).await,
        Err(_) => false,
    }
}

/// Asks all addresses at once: one that swallows everything does not keep the others from
/// being asked.
async fn any_answers(addresses: impl Iterator<Item = SocketAddr>) -> bool {
    let answers = addresses.map(async |address| ask(address).await.is_ok());
    answers.collect::<FuturesUnordered<_>>().any(ready).await
}

/// Asks one address. Whatever it answers, it does answer.
async fn ask(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(&SSL_REQUEST).await?;
    stream.read_u8().await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::net::TcpListener;
    use tokio::sync::oneshot;

    use super::*;

    /// How long to wait for what will happen.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// Something that takes connections, and says nothing on the first ones.
    struct Peer {
        address: SocketAddr,
        asked: Arc<AtomicUsize>,
    }

    impl Peer {
        async fn deaf_to(first: usize) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let asked = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&asked);
            tokio::spawn(async move {
                let mut open = Vec::new();
                while let Ok((mut stream, _)) = listener.accept().await {
                    if count.fetch_add(1, Ordering::Relaxed) >= first {
                        stream.write_all(b"N").await.expect("answered");
                    }
                    open.push(stream);
                }
            });
            Self { address, asked }
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::Relaxed)
        }
    }

    fn pulse_of(hosts: &str, peers: &[&Peer]) -> Arc<Pulse> {
        let ports: Vec<_> = peers.iter().map(|peer| peer.address.port().to_string()).collect();
        let config = format!("host={hosts} port={}", ports.join(","));
        Arc::new(Pulse::of(&config.parse().expect("a connection string")))
    }

    async fn until_it_answers(pulse: &Pulse) {
        let mut silent = pulse.silent.subscribe();
        silent.wait_for(|silent| !silent).await.expect("it is asked");
    }

    #[tokio::test]
    async fn one_address_that_answers_is_enough_whichever_it_is() {
        let (dead, alive) = (Peer::deaf_to(usize::MAX).await, Peer::deaf_to(0).await);
        let both = [dead.address, alive.address];
        let answers = timeout(PATIENCE, any_answers(both.into_iter())).await;
        assert_eq!((answers, dead.asked()), (Ok(true), 1));
        let pulse = pulse_of("127.0.0.1,localhost", &[&dead, &alive]);
        assert_eq!(timeout(PATIENCE, pulse.answers()).await, Ok(true));
        let pulse = pulse_of("127.0.0.1,name.invalid", &[&alive, &alive]);
        assert_eq!(timeout(PATIENCE, pulse.answers()).await, Ok(true));
        assert!(!any_answers(std::iter::empty()).await);
    }

    #[tokio::test]
    async fn one_question_without_an_answer_proves_nothing() {
        let peer = Peer::deaf_to(1).await;
        let pulse = pulse_of("127.0.0.1", &[&peer]);
        let started = Instant::now();
        let (done, work) = oneshot::channel();
        let third_question = async {
            while peer.asked() < 3 {
                sleep(Duration::from_millis(10)).await;
            }
            done.send(()).expect("it still waits");
        };
        let both = async { tokio::join!(pulse.during(work), third_question) };
        let (result, ()) = timeout(PATIENCE, both).await.expect("asked three times");
        assert_eq!(result, Some(Ok(())));
        assert!(pulse.trusts(started));
    }

    #[tokio::test]
    async fn after_two_it_is_silent_until_it_answers() {
        let peer = Peer::deaf_to(3).await;
        let pulse = pulse_of("127.0.0.1", &[&peer]);
        let started = Instant::now();
        assert_eq!(pulse.during(pending::<()>()).await, None);
        assert!(started.elapsed() >= SUSPICION + 2 * PROBE_TIMEOUT);
        assert_eq!(peer.asked(), 2);
        assert!(!pulse.trusts(started));
        // The third fails, too.
        assert_eq!(pulse.during(ready(())).await, None);
        timeout(PATIENCE, until_it_answers(&pulse)).await.expect("soon");
        assert_eq!((pulse.during(ready(())).await, peer.asked()), (Some(()), 4));
    }

    #[tokio::test]
    async fn a_server_that_answers_requests_is_not_silent() {
        let peer = Peer::deaf_to(usize::MAX).await;
        let pulse = pulse_of("127.0.0.1", &[&peer]);
        let answered = async {
            while peer.asked() < 4 {
                sleep(Duration::from_millis(10)).await;
                pulse.heard();
            }
            assert!(!*pulse.silent.borrow());
            peer.asked()
        };
        let (result, asked) = tokio::join!(pulse.during(pending::<()>()), answered);
        assert_eq!(result, None);
        // Two that began after it was heard.
        assert_eq!(peer.asked(), asked + 2);
    }
}
