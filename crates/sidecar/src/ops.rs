//! `/healthz`, `/readyz` and `/metrics` on a port of their own.
//!
//! Who is there asks for one thing and goes: a connection has one request and little
//! time, and there are few at once, so that nobody who forgets one fills the process.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Connections at once. The next ones wait until they are accepted.
const CONNECTIONS: usize = 64;

/// How long a connection may last: request, answer, and whatever lies between.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a head that are read; past it the answer is 431.
const HEAD_BYTES: usize = 8 * 1024;

/// Whether the background side can do its work, kept up to date by those who know.
#[derive(Default)]
pub struct Health {
    /// The database answers and has the schema.
    pub database: AtomicBool,
    /// `NATS_URL` is set, so a connection is part of being ready.
    pub nats_expected: AtomicBool,
}

impl Health {
    fn ready(&self, metrics: &Metrics) -> (bool, String) {
        let database = self.database.load(Relaxed);
        let nats = match (self.nats_expected.load(Relaxed), metrics.nats_connected.get()) {
            (false, _) => "not configured",
            (true, 0) => "disconnected",
            (true, _) => "connected",
        };
        let body = serde_json::json!({
            "database": if database { "ready" } else { "not ready" },
            "nats": nats,
            "leader": metrics.leader.get() == 1,
        });
        (database && nats != "disconnected", format!("{body}\n"))
    }
}

/// Serves until `shutdown`; then finishes the requests in flight.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    shutdown: CancellationToken,
) {
    serve_at_most(CONNECTIONS, PATIENCE, listener, Ops { metrics, health }, shutdown).await;
}

async fn serve_at_most(
    connections: usize,
    patience: Duration,
    listener: TcpListener,
    ops: Ops,
    shutdown: CancellationToken,
) {
    let (ops, places) = (Arc::new(ops), Arc::new(Semaphore::new(connections)));
    let graceful = GracefulShutdown::new();
    let next = async || {
        // Nobody closes the semaphore.
        let place = Arc::clone(&places).acquire_owned().await.ok();
        (accept(&listener).await, place)
    };
    loop {
        let (stream, place) = tokio::select! {
            next = next() => next,
            () = shutdown.cancelled() => break,
        };
        let ops = Arc::clone(&ops);
        let service = service_fn(move |request| {
            let answer = ops.answer(&request);
            async { Ok::<_, Infallible>(answer) }
        });
        let http = hyper::server::conn::http1::Builder::new()
            .keep_alive(false)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let http = graceful.watch(http);
        tokio::spawn(async move {
            if let Ok(Err(error)) = timeout(patience, http).await {
                tracing::debug!("health and metrics: {error}");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) => {
                tracing::warn!("health and metrics: accept: {error}");
                // No file descriptors, most likely.
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// What is asked about.
struct Ops {
    metrics: Arc<Metrics>,
    health: Arc<Health>,
}

impl Ops {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, media_type, body) = match (request.method(), request.uri().path()) {
            (&Method::GET | &Method::HEAD, "/healthz") => {
                (StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned())
            }
            (&Method::GET | &Method::HEAD, "/readyz") => {
                let (ready, body) = self.health.ready(&self.metrics);
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                (status, "application/json", body)
            }
            (&Method::GET | &Method::HEAD, "/metrics") => {
                let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                (StatusCode::OK, media_type, self.metrics.render())
            }
            (_, "/healthz" | "/readyz" | "/metrics") => {
                (StatusCode::METHOD_NOT_ALLOWED, "text/plain", "use GET\n".to_owned())
            }
            _ => (StatusCode::NOT_FOUND, "text/plain", "nothing is here\n".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        response
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const IN_TIME: Duration = Duration::from_secs(30);

    async fn serving(connections: usize, patience: Duration) -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, stop) =
            (listener.local_addr().expect("an address"), CancellationToken::new());
        let ops = Ops { metrics: Arc::default(), health: Arc::default() };
        tokio::spawn(serve_at_most(connections, patience, listener, ops, stop.clone()));
        (address, stop)
    }

    /// Everything that the server sends after these bytes, until it closes.
    async fn exchange(address: SocketAddr, bytes: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(bytes.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        let read = timeout(IN_TIME, stream.read_to_string(&mut answer));
        read.await.expect("the server closes").expect("read");
        answer
    }

    fn request(method: &str, path: &str) -> String {
        format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n")
    }

    #[tokio::test]
    async fn each_path_has_its_answer_and_a_connection_has_one() {
        let (address, _stop) = serving(CONNECTIONS, PATIENCE).await;
        for (method, path, status, body) in [
            ("GET", "/healthz", 200, "ok\n"),
            ("GET", "/readyz", 503, "not ready"),
            ("GET", "/metrics", 200, "# EOF\n"),
            ("POST", "/metrics", 405, "use GET"),
            ("GET", "/healthz/", 404, "nothing"),
        ] {
            // The second one is not looked at.
            let two = request(method, path) + &request("GET", "/healthz");
            let answer = exchange(address, &two).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path} {answer}");
            assert!(answer.contains(body), "{method} {path} {answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        }
    }

    #[tokio::test]
    async fn who_is_slow_is_cut_off_and_others_get_their_answer() {
        let (address, _stop) = serving(2, Duration::from_millis(300)).await;
        let (slow, whole) = ("GET /healthz HTTP/1.1\r\nX-Slow: ", request("GET", "/healthz"));
        let all = ["", slow, slow, &whole].map(|start| exchange(address, start));
        let answers = futures::future::join_all(all).await;
        let served = answers.iter().map(|answer| answer.starts_with("HTTP/1.1 200 "));
        assert_eq!(served.collect::<Vec<_>>(), [false, false, false, true], "{answers:?}");
    }

    #[tokio::test]
    async fn past_the_bound_nobody_is_served_until_somebody_goes() {
        let (address, _stop) = serving(1, Duration::from_mins(10)).await;
        // Connections are accepted in their order.
        let mut first = TcpStream::connect(address).await.expect("connected");
        let mut second = TcpStream::connect(address).await.expect("connected");
        second.write_all(request("GET", "/healthz").as_bytes()).await.expect("sent");
        let mut answer = [0; 12];
        let early = timeout(Duration::from_millis(200), second.read_exact(&mut answer)).await;
        assert!(early.is_err(), "both were served at once");
        first.write_all(request("GET", "/healthz").as_bytes()).await.expect("sent");
        let read = timeout(IN_TIME, second.read_exact(&mut answer)).await;
        read.expect("in time").expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200");
    }

    #[tokio::test]
    async fn it_stops_although_somebody_is_connected() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, stop) =
            (listener.local_addr().expect("an address"), CancellationToken::new());
        let serving = tokio::spawn(serve(listener, Arc::default(), Arc::default(), stop.clone()));
        let mut idle = TcpStream::connect(address).await.expect("connected");
        let answer = exchange(address, &request("GET", "/healthz")).await;
        assert!(answer.contains(" 200 "), "{answer}");
        stop.cancel();
        timeout(PATIENCE / 2, serving).await.expect("in time").expect("no panic");
        assert_eq!(idle.read(&mut [0]).await.ok().unwrap_or_default(), 0);
    }
}
