//! What one request costs: the instructions that the component computes, and the
//! statements that reach PostgreSQL.
//!
//! Both are counted where nothing can be missed, and neither depends on how busy
//! the machine is: wasmtime counts the instructions ("fuel"), and whatever goes to
//! PostgreSQL goes through a [`Tap`].

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use edd_auth_server::component;
use edd_auth_server::host::{self, Shared, State};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use wasmtime::component::Component;
use wasmtime::{Config, Engine, OptLevel, Store};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use xtask::artifacts::Artifacts;

use crate::harness::{Service, environment};

/// The component beside a service, on the same database.
pub(crate) struct Meter {
    component: ProxyPre<State>,
    tap: Tap,
}

/// A response, and what it has cost.
#[derive(Debug)]
pub(crate) struct Metered {
    pub(crate) status: u16,
    pub(crate) body: Value,
    /// Instructions, of WebAssembly.
    pub(crate) instructions: u64,
    /// The first line of each statement, which is its name, in their order.
    pub(crate) statements: Vec<String>,
}

impl Meter {
    pub(crate) async fn beside(service: &Service) -> Self {
        let component = host::link(counting_component()).expect("a component that links");
        Self { component, tap: Tap::in_front_of(&service.database_url).await }
    }

    /// Has the component answer a request. Nothing is left over from the request
    /// before: no connection, and no statement that is prepared already.
    pub(crate) async fn measure(&self, request: hyper::Request<Full<Bytes>>) -> Metered {
        self.measure_with(&[], request).await
    }

    /// The same, with other values for some variables of `spin.toml`.
    pub(crate) async fn measure_with(
        &self,
        variables: &[(&str, &str)],
        request: hyper::Request<Full<Bytes>>,
    ) -> Metered {
        let environment = environment(&self.tap.database_url, variables);
        let shared = Shared::new(environment, 1).expect("a host");
        let (state, _log) = State::new(Arc::new(shared), Duration::ZERO);
        let mut store = Store::new(self.component.engine(), state);
        store.limiter(State::limits);
        store.set_fuel(u64::MAX).expect("an engine that counts");
        let (sender, receiver) = oneshot::channel();
        let mut http = store.data_mut().http();
        let request = http.new_incoming_request(Scheme::Http, request).expect("a request");
        let outparam = http.new_response_outparam(sender).expect("a place for the response");
        self.tap.take();
        let handled = async {
            let proxy = self.component.instantiate_async(&mut store).await.expect("an instance");
            proxy
                .wasi_http_incoming_handler()
                .call_handle(&mut store, request, outparam)
                .await
                .expect("no trap");
            // The body ends when the store is gone.
            let left = store.get_fuel().expect("an engine that counts");
            drop(store);
            u64::MAX - left
        };
        let answered = async {
            let response = receiver.await.expect("an answer").expect("a response");
            let (head, body) = response.into_parts();
            (head.status.as_u16(), body.collect().await.expect("a whole body").to_bytes())
        };
        let (instructions, (status, body)) = tokio::join!(handled, answered);
        Metered {
            status,
            body: serde_json::from_slice(&body).expect("JSON"),
            instructions,
            statements: self.tap.take(),
        }
    }
}

/// The built component, compiled so that it counts. How well it is optimised makes
/// no difference to the count.
fn counting_component() -> &'static Component {
    static COMPONENT: OnceLock<Component> = OnceLock::new();
    COMPONENT.get_or_init(|| {
        let mut config = Config::new();
        config.wasm_component_model(true).consume_fuel(true).cranelift_opt_level(OptLevel::None);
        let engine = Engine::new(&config).expect("an engine");
        component::from_file(&engine, &Artifacts::paths().component).expect("a component")
    })
}

type Statements = Arc<Mutex<Vec<String>>>;

/// A listener in front of PostgreSQL that notes the statements which pass.
struct Tap {
    database_url: String,
    executed: Statements,
}

impl Tap {
    async fn in_front_of(database_url: &str) -> Self {
        let mut url = url::Url::parse(database_url).expect("a URL");
        let server = (url.host_str().expect("a host").to_owned(), url.port().expect("a port"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        url.set_port(Some(port)).expect("a URL with a port");
        let executed = Statements::default();
        let noted = Arc::clone(&executed);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(server.clone()).await.expect("PostgreSQL");
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = server.into_split();
                let noted = Arc::clone(&noted);
                tokio::spawn(async move { copy(&mut from_server, &mut to_client).await });
                tokio::spawn(async move { forward(from_client, to_server, &noted).await });
            }
        });
        Self { database_url: url.to_string(), executed }
    }

    /// What has passed since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.executed.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A client's question whether the server speaks TLS, which has the place of the
/// startup message (PostgreSQL, "Message Formats").
const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();

/// Forwards what a client sends, message by message, until it closes. A message is
/// a byte that says of what kind it is, a length and that many bytes; those before
/// the session has started have no such byte.
async fn forward(from: OwnedReadHalf, to: OwnedWriteHalf, executed: &Statements) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::new(from), BufWriter::new(to));
    let mut started = false;
    let mut prepared = HashMap::new();
    let mut bound = String::new();
    loop {
        if started {
            let kind = from.read_u8().await?;
            to.write_u8(kind).await?;
            let body = forward_body(&mut from, &mut to).await?;
            let mut texts = body.split(|byte| *byte == 0).map(String::from_utf8_lossy);
            let mut text = || texts.next().unwrap_or_default().into_owned();
            match kind {
                // Parse: the statement's name, its SQL.
                b'P' => _ = prepared.insert(text(), text()),
                // Bind: the portal's name, the statement's.
                b'B' => (_, bound) = (text(), text()),
                b'E' => note(executed, &prepared[&bound]),
                // A query without parameters is one message.
                b'Q' => note(executed, &text()),
                _ => {}
            }
        } else {
            let body = forward_body(&mut from, &mut to).await?;
            started = !body.starts_with(&SSL_REQUEST);
        }
        to.flush().await?;
    }
}

async fn forward_body(
    from: &mut BufReader<OwnedReadHalf>,
    to: &mut BufWriter<OwnedWriteHalf>,
) -> io::Result<Vec<u8>> {
    let length = from.read_u32().await?;
    to.write_u32(length).await?;
    // It counts itself.
    let mut body = vec![0; length as usize - 4];
    from.read_exact(&mut body).await?;
    to.write_all(&body).await?;
    Ok(body)
}

fn note(executed: &Statements, sql: &str) {
    let name = sql.lines().next().unwrap_or_default().to_owned();
    executed.lock().unwrap_or_else(PoisonError::into_inner).push(name);
}
