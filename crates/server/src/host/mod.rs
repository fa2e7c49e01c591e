//! What an instance of the component finds around it.

mod postgres;
mod variables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{ResourceLimiter, StoreLimits, StoreLimitsBuilder};
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::{
    Error as HttpError, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView,
};

use crate::component::MAX_MEMORY;
use crate::manifest::Environment;
use crate::metrics::{HasLevels, Level};

pub use postgres::{Connection, Databases};

/// Bindings for `wit/world.wit`, world `platform`.
mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "edd-cloud:auth/platform",
        imports: { default: async | trappable },
        with: { "spin:postgres/postgres.connection": super::postgres::Connection },
    });
}

/// Bytes of log that one request may write. What is beyond them is lost.
const LOG_BYTES: usize = 16 * 1024;

/// What all instances share.
pub struct Shared {
    variables: BTreeMap<String, String>,
    databases: Databases,
}

impl Shared {
    /// For instances with these variables, which may connect to these hosts.
    ///
    /// # Errors
    ///
    /// When TLS can't be set up.
    pub fn new(environment: Environment, connections: usize) -> anyhow::Result<Self> {
        Self::trusting(environment, connections, &[])
    }

    /// The same, where databases may also show certificates of these authorities.
    ///
    /// # Errors
    ///
    /// When one of them is none, or TLS can't be set up.
    pub fn trusting(
        environment: Environment,
        connections: usize,
        authorities: &[CertificateDer<'static>],
    ) -> anyhow::Result<Self> {
        let databases = Databases::new(environment.allowed_hosts, connections, authorities)?;
        Ok(Self { variables: environment.variables, databases })
    }
}

impl HasLevels for Shared {
    fn levels(&self) -> Vec<Level> {
        self.databases.levels()
    }
}

/// The state of one instance, which serves one request.
pub struct State {
    shared: Arc<Shared>,
    /// How long the request has waited for its turn.
    queued: Duration,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    hooks: NoOutgoingRequests,
    table: ResourceTable,
    limits: StoreLimits,
}

impl State {
    /// No arguments, no environment, no files, no network; standard error goes
    /// to the returned pipe. `queued` is how long the request has waited for its turn.
    #[must_use]
    pub fn new(shared: Arc<Shared>, queued: Duration) -> (Self, MemoryOutputPipe) {
        let log = MemoryOutputPipe::new(LOG_BYTES);
        let state = Self {
            shared,
            queued,
            wasi: WasiCtx::builder().stderr(log.clone()).build(),
            http: WasiHttpCtx::new(),
            hooks: NoOutgoingRequests,
            table: ResourceTable::new(),
            limits: StoreLimitsBuilder::new().memory_size(MAX_MEMORY).build(),
        };
        (state, log)
    }

    /// What the instance may allocate.
    pub fn limits(&mut self) -> &mut dyn ResourceLimiter {
        &mut self.limits
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { ctx: &mut self.http, table: &mut self.table, hooks: &mut self.hooks }
    }
}

/// The component imports no way to send a request; this refuses all the same.
struct NoOutgoingRequests;

impl WasiHttpHooks for NoOutgoingRequests {
    fn send_request(
        &mut self,
        _request: hyper::Request<WasiBody>,
        _options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), HttpError>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, HttpError>> + Send> {
        Box::new(std::future::ready(Err(HttpError::HttpRequestDenied)))
    }
}

/// A response, and whether it could be processed.
type Answer = (hyper::Response<WasiBody>, Box<dyn Future<Output = Result<(), HttpError>> + Send>);

/// Links a component against this host, so that instances of it can be made.
///
/// # Errors
///
/// When the component imports something that this host does not have.
pub fn link(component: &Component) -> anyhow::Result<ProxyPre<State>> {
    let mut linker: Linker<State> = Linker::new(component.engine());
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    bindings::Platform::add_to_linker::<_, wasmtime::component::HasSelf<_>>(
        &mut linker,
        |state| state,
    )?;
    Ok(ProxyPre::new(linker.instantiate_pre(component)?)?)
}
