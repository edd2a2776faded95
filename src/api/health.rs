//! What an operator asks: alive, ready, and the metrics.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Knows the parts without which the server is of no use.
#[async_trait]
pub trait Readiness: Send + Sync {
    /// Each part by its name, and whether it works.
    async fn look(&self) -> BTreeMap<&'static str, bool>;
}

/// What the answers are made from.
#[derive(Clone)]
pub struct Health {
    pub readiness: Arc<dyn Readiness>,
    pub metrics: PrometheusHandle,
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    parts: BTreeMap<&'static str, bool>,
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
    let parts = health.readiness.look().await;
    let ready = parts.values().all(|works| *works);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Report { ready, parts }))
}

async fn scrape(State(health): State<Health>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], health.metrics.render())
}

/// How long a server may take to say that it is alive.
const ALIVE_WITHIN: Duration = Duration::from_secs(3);

/// Asks the server at this address for `/healthz`.
pub async fn is_alive(address: SocketAddr) -> std::io::Result<bool> {
    let asked = async {
        let mut connection = TcpStream::connect(address).await?;
        let question = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        connection.write_all(question.as_bytes()).await?;
        let mut answer = String::new();
        connection.take(MAX_HEALTH_ANSWER).read_to_string(&mut answer).await?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    };
    tokio::time::timeout(ALIVE_WITHIN, asked).await.map_err(std::io::Error::from).flatten()
}

/// Bytes of the answer that are looked at.
const MAX_HEALTH_ANSWER: u64 = 4096;
