//! A stand-in for the log service, which is another program. It speaks the
//! contract as that does, and can be away, refuse, and be slow.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpSocket;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use self::contract::log_service_server::{LogService, LogServiceServer};
pub(crate) use self::contract::{LogEntry, LogLevel};
use self::contract::{PushLogRequest, PushLogResponse};
use crate::PATIENCE;

mod contract {
    #![expect(unreachable_pub, clippy::pedantic, reason = "generated")]

    tonic::include_proto!("logging");
}

/// What becomes of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is stored and acknowledged.
    Take,
    /// The call fails.
    Refuse,
    /// It is stored and acknowledged, after three seconds.
    TakeLate,
    /// Nothing, until the double is told to do something else.
    Wait,
}

type Rule = fn(&LogEntry) -> Answer;

/// A log service on an address of its own, which it keeps while it is away.
pub(crate) struct Double {
    address: SocketAddr,
    /// Bound and never listening: connections are refused, and nobody else gets
    /// the port.
    _reservation: TcpSocket,
    state: Arc<State>,
    runtime: Mutex<Option<Runtime>>,
}

struct State {
    rule: watch::Sender<Rule>,
    /// In the order of their arrival.
    taken: watch::Sender<Vec<LogEntry>>,
    waiting: watch::Sender<usize>,
}

impl Double {
    /// One that nobody reaches yet.
    pub(crate) fn away() -> Self {
        let reservation = socket((Ipv4Addr::LOCALHOST, 0).into());
        let address = reservation.local_addr().expect("an address");
        let state = Arc::new(State {
            rule: watch::Sender::new(|_| Answer::Take),
            taken: watch::Sender::new(Vec::new()),
            waiting: watch::Sender::new(0),
        });
        Self { address, _reservation: reservation, state, runtime: Mutex::new(None) }
    }

    /// One that takes everything.
    pub(crate) fn start() -> Self {
        let double = Self::away();
        double.come_up();
        double
    }

    /// Begins to serve, in a runtime of its own, with which all connections end.
    pub(crate) fn come_up(&self) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let context = runtime.enter();
        let listener = socket(self.address).listen(64).expect("listening");
        drop(context);
        let service = LogServiceServer::from_arc(Arc::clone(&self.state));
        let serving =
            Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
        runtime.spawn(serving);
        *self.runtime.lock().expect("not poisoned") = Some(runtime);
    }

    /// Is gone at once, whatever is in flight.
    pub(crate) fn go_away(&self) {
        if let Some(runtime) = self.runtime.lock().expect("not poisoned").take() {
            runtime.shutdown_background();
        }
    }

    pub(crate) fn answer(&self, rule: Rule) {
        self.state.rule.send_replace(rule);
    }

    /// `HOST:PORT`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn taken(&self) -> Vec<LogEntry> {
        self.state.taken.borrow().clone()
    }

    /// Waits until what it has taken is as it should be.
    pub(crate) async fn until(&self, enough: impl FnMut(&Vec<LogEntry>) -> bool) -> Vec<LogEntry> {
        let mut taken = self.state.taken.subscribe();
        let waiting = timeout(PATIENCE, taken.wait_for(enough)).await;
        waiting.expect("in time").expect("the sender lives").clone()
    }

    /// Waits until a call waits.
    pub(crate) async fn until_it_keeps_somebody_waiting(&self) {
        let mut waiting = self.state.waiting.subscribe();
        let one = timeout(PATIENCE, waiting.wait_for(|waiting| *waiting > 0)).await;
        one.expect("in time").expect("the sender lives");
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.go_away();
    }
}

/// Several sockets may be bound to the address; only a listening one gets
/// connections.
fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseport(true).expect("an option");
    socket.bind(address).expect("bound");
    socket
}

#[tonic::async_trait]
impl LogService for State {
    async fn push_log(
        &self,
        request: Request<PushLogRequest>,
    ) -> Result<Response<PushLogResponse>, Status> {
        let entry = request.into_inner().entry.ok_or_else(|| Status::invalid_argument("entry"))?;
        let mut rules = self.rule.subscribe();
        let decide = |rule: &Rule| (*rule)(&entry);
        let mut answer = decide(&rules.borrow_and_update());
        if answer == Answer::Wait {
            self.waiting.send_modify(|waiting| *waiting += 1);
            let changed = rules.wait_for(|rule| decide(rule) != Answer::Wait).await;
            let rule = changed.map_err(|error| Status::internal(error.to_string()))?;
            answer = decide(&rule);
        }
        if answer == Answer::TakeLate {
            tokio::time::sleep(Duration::from_secs(3)).await;
        }
        if answer == Answer::Refuse {
            return Err(Status::unavailable("no room\nfor it"));
        }
        self.taken.send_modify(|taken| taken.push(entry));
        Ok(Response::new(PushLogResponse {}))
    }
}
