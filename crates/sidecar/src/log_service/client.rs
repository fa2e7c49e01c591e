//! One call: an entry, and its acknowledgement.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use super::contract::log_service_client::LogServiceClient;
use super::contract::{LogEntry, PushLogRequest};
use crate::metrics::Metrics;

/// How long the log service may take to acknowledge an entry, connection included.
const DEADLINE: Duration = Duration::from_secs(5);

/// A connection to the log service, made when it is needed.
pub(super) struct Client {
    /// What it pushes, for the log.
    what: &'static str,
    endpoint: Endpoint,
    stub: LogServiceClient<Channel>,
    metrics: Arc<Metrics>,
    failing: bool,
}

/// The entry was not acknowledged. It may have arrived all the same.
#[derive(Debug, thiserror::Error)]
#[error("the log service has not acknowledged an entry")]
pub(super) struct NotAcknowledged;

impl Client {
    /// Needs a runtime, and no server.
    pub(super) fn new(what: &'static str, endpoint: Endpoint, metrics: Arc<Metrics>) -> Self {
        let endpoint = endpoint.connect_timeout(DEADLINE);
        let stub = LogServiceClient::new(endpoint.connect_lazy());
        Self { what, endpoint, stub, metrics, failing: false }
    }

    /// Pushes an entry. Logs when pushing begins to fail and when it works again,
    /// and not each failure: an outage may last for days.
    ///
    /// # Errors
    ///
    /// [`NotAcknowledged`], whatever the reason: every one may pass.
    pub(super) async fn push(&mut self, entry: LogEntry) -> Result<(), NotAcknowledged> {
        let mut request = Request::new(PushLogRequest { entry: Some(entry) });
        request.set_timeout(DEADLINE);
        let answer = timeout(DEADLINE, self.stub.push_log(request)).await;
        let problem = match answer {
            Ok(Ok(_)) => {
                self.metrics.log_pushed.inc();
                if mem::take(&mut self.failing) {
                    tracing::info!("log service: takes {} again", self.what);
                }
                return Ok(());
            }
            Ok(Err(status)) => describe(&status),
            Err(_) => format!("no answer within {} seconds", DEADLINE.as_secs()),
        };
        self.metrics.log_push_failures.inc();
        // A server that was cut off without a word leaves a connection that looks
        // alive for many minutes.
        self.stub = LogServiceClient::new(self.endpoint.connect_lazy());
        if !mem::replace(&mut self.failing, true) {
            tracing::warn!("log service: {problem}; {} wait, and are tried again", self.what);
        }
        Err(NotAcknowledged)
    }
}

/// Code and message on one line, and none of the metadata.
fn describe(status: &Status) -> String {
    match status.message() {
        "" => status.code().to_string(),
        message => format!("{}: {}", status.code(), message.escape_debug()),
    }
}
