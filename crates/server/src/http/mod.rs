//! HTTP/1.1 in front of the component.
//!
//! A request is read whole before an instance is made for it, and its response
//! is read whole before it is sent, so that a slow client holds a connection
//! but never an instance. What one server takes on is in ADR 0016.

mod problem;
mod request;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::{timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use wasmtime::{Store, UpdateDeadline};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;

use self::problem::{
    BODY_TIMED_OUT, BODY_UNREADABLE, FAILED, HEADER_NOT_TEXT, NO_HOST, OVERLOADED, Problem,
    TIMED_OUT, last,
};
use self::request::{add_spin_headers, is_plain, read_body};
use crate::admission::{Budget, Budgets, PROBES};
use crate::component::TICK;
use crate::connections::{Connection, Connections};
use crate::host::{Shared, State};
use crate::listener::Listener;
use crate::metrics::{HasLevels, HttpMetrics, Level, Levels, Measured, Refusal, Values};

/// Bytes of a head that are read; past it the answer is 431.
const HEAD_BYTES: usize = 32 * 1024;

/// How long the head of a request may take to arrive, from the end of the one before.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an instance may compute.
const CPU_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connections without a request may stay when the server stops, for one more.
const LAST_REQUEST: Duration = Duration::from_secs(2);

/// How long requests in flight may take when the server stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// What one server takes on.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests that are worked on at once, but for those that hash a password.
    pub instances: u32,
    /// Requests that hash a password and are worked on at once.
    pub hashes: u32,
    /// How long a request may wait until it is worked on; then it is refused.
    pub queue: Duration,
    /// Connections at once; past it, those that wait for their clients give way.
    pub connections: usize,
    /// How long the body of a request may take to arrive.
    pub body: Duration,
    /// How long an instance may take to answer, waiting included.
    pub answer: Duration,
}

impl Limits {
    /// Instances that there are at most at once.
    #[must_use]
    pub const fn total_instances(&self) -> u32 {
        self.instances + self.hashes + 2 * PROBES
    }

    /// For a machine that can do so many things at once. More hashes at once would
    /// not be done sooner, and everything else would be done later.
    #[must_use]
    pub fn of_cores(cores: u32) -> Self {
        Self {
            instances: (8 * cores).max(16),
            hashes: 2 * cores,
            queue: Duration::from_secs(1),
            connections: 4096,
            body: Duration::from_secs(10),
            answer: Duration::from_secs(30),
        }
    }
}

/// A linked component, and room for its instances.
pub struct Server {
    component: ProxyPre<State>,
    shared: Arc<Shared>,
    limits: Limits,
    budgets: Budgets,
    connections: Arc<Connections>,
    metrics: HttpMetrics,
}

impl Server {
    /// The engine of the component has to have room for so many instances.
    #[must_use]
    pub fn new(component: ProxyPre<State>, shared: Shared, limits: Limits) -> Self {
        let budgets = Budgets::new(limits.instances, limits.hashes);
        Self {
            component,
            shared: Arc::new(shared),
            limits,
            connections: Connections::new(limits.connections),
            metrics: HttpMetrics::new(budgets.all().into_iter().map(|budget| budget.name)),
            budgets,
        }
    }

    /// Adds what this server measures.
    pub fn register(self: &Arc<Self>, registry: &mut Registry) {
        self.metrics.register(registry);
        self.connections.register(registry);
        registry.register_collector(Box::new(Levels(Arc::clone(self))));
    }

    /// Serves until `shutdown`; then finishes the requests in flight.
    ///
    /// # Errors
    ///
    /// When the listener fails for good.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> std::io::Result<()> {
        let listener = Listener::new(listener, Arc::clone(&self.connections))?;
        let graceful = GracefulShutdown::new();
        let take = |stream, connection| {
            Arc::clone(&self).take(stream, connection, &graceful, shutdown.clone());
        };
        let waiting = listener.take_until(&shutdown, take).await;
        let deadline = tokio::time::Instant::now() + LAST_REQUEST + DRAIN_TIMEOUT;
        if timeout_at(deadline, listener.close(waiting, take)).await.is_err() {
            tracing::warn!("stopped with connections for which there was no room");
        }
        // Whoever uses a connection is told with the next answer that it was the last
        // one: closed between two requests, it would swallow the second.
        let _ = timeout(LAST_REQUEST, self.connections.all_closed()).await;
        if timeout_at(deadline, graceful.shutdown()).await.is_err() {
            tracing::warn!("stopped with requests in flight");
        }
        Ok(())
    }

    /// Serves a connection, in a task of its own.
    fn take(
        self: Arc<Self>,
        stream: TcpStream,
        connection: Connection,
        graceful: &GracefulShutdown,
        stopping: CancellationToken,
    ) {
        let connection = Arc::new(connection);
        let requests_of = Arc::clone(&connection);
        let service = service_fn(move |request| {
            let (server, connection) = (Arc::clone(&self), Arc::clone(&requests_of));
            let stopping = stopping.clone();
            async move {
                let response = server.answer(request, &connection).await;
                let response = if stopping.is_cancelled() { last(response) } else { response };
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let http = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let http = graceful.watch(http);
        tokio::spawn(async move {
            tokio::select! {
                result = http => if let Err(error) = result {
                    tracing::debug!("connection: {error}");
                },
                () = connection.has_to_close() => {}
            }
        });
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
    ) -> Response<Full<Bytes>> {
        let mut measured = self.metrics.request(request.method(), request.uri().path());
        let response = self.answer_measured(request, connection, &mut measured).await;
        measured.answered(response.status());
        response
    }

    async fn answer_measured(
        &self,
        request: Request<Incoming>,
        connection: &Connection,
        measured: &mut Measured<'_>,
    ) -> Response<Full<Bytes>> {
        let (mut head, body) = request.into_parts();
        let request_id = head.headers.get("x-request-id").filter(|id| is_plain(id)).cloned();
        let refuse = |problem: &Problem| problem.response(request_id.as_ref());
        if head.headers.values().any(|value| std::str::from_utf8(value.as_bytes()).is_err()) {
            return last(refuse(&HEADER_NOT_TEXT));
        }
        if !add_spin_headers(&mut head, connection.client()) {
            return last(refuse(&NO_HOST));
        }
        let (body, whole) = match timeout(self.limits.body, read_body(body)).await {
            Ok(Ok(read)) => read,
            Ok(Err(_)) => return last(refuse(&BODY_UNREADABLE)),
            Err(_) => return last(refuse(&BODY_TIMED_OUT)),
        };
        let refuse = |problem: &Problem| {
            let refused = refuse(problem);
            if whole { refused } else { last(refused) }
        };
        measured.starts_now();
        let _serving = connection.serve();
        let arrived = Instant::now();
        let budget = self.budgets.of(&head);
        let _turn = match budget.turn(self.limits.queue).await {
            Ok(turn) => turn,
            Err(reason) => {
                self.metrics.refuse(budget.name, reason.into());
                return refuse(&OVERLOADED);
            }
        };
        let run = self.run(Request::from_parts(head, body), arrived.elapsed());
        match timeout(self.limits.answer, run).await {
            Ok(Ok(response)) => {
                if response.status() == StatusCode::TOO_MANY_REQUESTS {
                    self.metrics.refuse(budget.name, Refusal::TooManyAttempts);
                }
                if whole { response } else { last(response) }
            }
            Ok(Err(error)) => {
                tracing::error!("the component failed: {error:#}");
                refuse(&FAILED)
            }
            Err(_) => {
                tracing::error!("the component took more than {:?}", self.limits.answer);
                self.metrics.refuse(budget.name, Refusal::TimedOut);
                refuse(&TIMED_OUT)
            }
        }
    }

    /// Makes an instance, has it answer, and takes it down.
    async fn run(
        &self,
        request: Request<Full<Bytes>>,
        queued: Duration,
    ) -> anyhow::Result<Response<Full<Bytes>>> {
        let (state, log) = State::new(Arc::clone(&self.shared), queued);
        let mut store = Store::new(self.component.engine(), state);
        store.limiter(State::limits);
        store.set_epoch_deadline(1);
        let mut ticks_left = CPU_TIMEOUT.as_millis() / TICK.as_millis();
        store.epoch_deadline_callback(move |_| {
            // The epoch goes on while the instance waits, but then there is one
            // call at most: these are ticks of computing.
            ticks_left = ticks_left.saturating_sub(1);
            Ok(if ticks_left == 0 { UpdateDeadline::Interrupt } else { UpdateDeadline::Yield(1) })
        });
        let (sender, receiver) = oneshot::channel();
        let mut http = store.data_mut().http();
        let request =
            http.new_incoming_request(Scheme::Http, request.map(|body| body.map_err(never)))?;
        let outparam = http.new_response_outparam(sender)?;
        let handled = async {
            let proxy = self.component.instantiate_async(&mut store).await?;
            let result =
                proxy.wasi_http_incoming_handler().call_handle(&mut store, request, outparam).await;
            drop(store);
            result
        };
        // The instance writes the body while it is being read.
        let answered = async {
            match receiver.await {
                Ok(Ok(response)) => {
                    let (head, body) = response.into_parts();
                    let body = body.collect().await?.to_bytes();
                    anyhow::Ok(Some(Response::from_parts(head, Full::new(body))))
                }
                Ok(Err(error)) => Err(anyhow::anyhow!("it answered with {error:?}")),
                Err(_) => Ok(None),
            }
        };
        let (handled, answered) = tokio::join!(handled, answered);
        forward_log(&log);
        handled?;
        answered?.ok_or_else(|| anyhow::anyhow!("it returned without an answer"))
    }
}

impl HasLevels for Server {
    fn levels(&self) -> Vec<Level> {
        let by_budget = |value: fn(&Budget) -> usize| {
            let budgets = self.budgets.all().into_iter();
            Values::By("budget", budgets.map(|budget| (budget.name, value(budget))).collect())
        };
        let (connections, most) = self.connections.open();
        let mut levels = vec![
            Level {
                name: "http_instances",
                help: "Requests that are worked on, each by an instance, by budget",
                values: by_budget(|budget| budget.in_use().0),
            },
            Level {
                name: "http_instances_limit",
                help: "How many may be",
                values: by_budget(|budget| budget.in_use().1),
            },
            Level {
                name: "http_queue",
                help: "Requests that wait to be worked on, by budget",
                values: by_budget(Budget::waiting),
            },
            Level {
                name: "http_connections",
                help: "Connections of clients",
                values: Values::One(connections),
            },
            Level {
                name: "http_connections_limit",
                help: "How many there may be",
                values: Values::One(most),
            },
        ];
        levels.extend(self.shared.levels());
        levels
    }
}

fn never(infallible: std::convert::Infallible) -> wasmtime_wasi_http::Error {
    match infallible {}
}

/// What the instance wrote to standard error becomes lines of this process's
/// log. The component writes JSON; anything else is a panic's message.
fn forward_log(log: &MemoryOutputPipe) {
    for line in String::from_utf8_lossy(&log.contents()).lines() {
        let Ok(serde_json::Value::Object(record)) = serde_json::from_str(line) else {
            tracing::error!(target: "component", "{line}");
            continue;
        };
        let text = |name: &str| record.get(name).and_then(serde_json::Value::as_str);
        tracing::error!(
            target: "component",
            request_id = text("request_id"),
            code = text("code"),
            cause = text("cause"),
            "{}",
            text("message").unwrap_or_default()
        );
    }
}
