//! What an operator asks: alive, ready, and the metrics.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

use crate::{service::order::OrderService, store::port::OrderStore};

/// The parts a server needs to be of use.
#[derive(Clone)]
pub struct Health {
    store: Arc<dyn OrderStore>,
    orders: Arc<OrderService>,
    metrics: PrometheusHandle,
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    parts: Parts,
}

#[derive(Serialize)]
struct Parts {
    database: bool,
    order_log: bool,
}

impl Health {
    pub fn new(store: Arc<dyn OrderStore>, orders: Arc<OrderService>, metrics: PrometheusHandle) -> Self {
        Self { store, orders, metrics }
    }
}

/// `/healthz`, `/readyz` and `/metrics`.
pub fn routes(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape))
        .with_state(health)
}

/// 200 while every part works, 503 with the names of those that do not.
async fn ready(State(health): State<Health>) -> impl IntoResponse {
    let database =
        health.store.ping().await.inspect_err(|error| tracing::error!(%error, "not ready")).is_ok();
    let parts = Parts { database, order_log: health.orders.log_is_well() };
    let ready = parts.database && parts.order_log;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Readiness { ready, parts }))
}

async fn scrape(State(health): State<Health>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], health.metrics.render())
}
