//! `/healthz`, `/readyz` and `/metrics` on a port of their own.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Whether the background side can do its work, kept up to date by those who know.
#[derive(Default)]
pub struct Health {
    /// The database answers and has the schema.
    pub database: std::sync::atomic::AtomicBool,
    /// `NATS_URL` is set, so a connection is part of being ready.
    pub nats_expected: std::sync::atomic::AtomicBool,
}

impl Health {
    fn ready(&self, metrics: &Metrics) -> (bool, String) {
        use std::sync::atomic::Ordering::Relaxed;
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

/// Serves until `shutdown`.
///
/// # Errors
///
/// When accepting connections fails for good.
pub async fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let ready_metrics = Arc::clone(&metrics);
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || async move {
                let (ready, body) = health.ready(&ready_metrics);
                let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                (status, [(header::CONTENT_TYPE, "application/json")], body)
            }),
        )
        .route(
            "/metrics",
            get(move || async move {
                let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                ([(header::CONTENT_TYPE, media_type)], metrics.render()).into_response()
            }),
        );
    axum::serve(listener, routes).with_graceful_shutdown(shutdown.cancelled_owned()).await
}
