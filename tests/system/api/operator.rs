//! What an operator asks: alive, ready, and the metrics.

use panicbuy::domain::Phase;
use serde_json::json;

use crate::support::{
    ADMIN_EMAIL, Server,
    client::Client,
    eventually,
    home::is_cluster,
    shop::{Sale, Shop, enrol},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_serves_is_alive_and_ready() {
    let server = Server::start().await;
    let visitor = Shop::visitor(server.address);
    let alive = visitor.read("/healthz").await;
    assert_eq!((alive.status.as_u16(), alive.text.as_str()), (200, "ok\n"));
    let ready = visitor.get("/readyz").await;
    assert_eq!(ready["ready"], true);
    let parts = ready["parts"].as_object().unwrap();
    assert!(parts.values().all(|works| works == true), "{ready}");
    let named: Vec<&str> = parts.keys().map(String::as_str).collect();
    let all: &[&str] = if is_cluster() {
        &["database", "order_log", "redis", "results"]
    } else {
        &["database", "order_log"]
    };
    assert_eq!(named, all);
    server.stop().await;
}

/// The sum of a family's samples whose name and labels begin so.
fn sum(metrics: &str, begins: &str) -> f64 {
    let samples = metrics.lines().filter(|line| line.starts_with(begins));
    samples.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_sale_is_seen_in_the_metrics() {
    let server = Server::with(&["--logins-per-email-per-min", "1"]).await;
    let admin = Shop::admin(server.address).await;
    let token = enrol(&server, 1).await.remove(0);
    let promo = admin.publish(&Sale::default()).await;
    let (mut client, _) = Client::join(server.address, &token, promo).await;
    client.state(|state| state.phase == Phase::Admitted).await;
    let request = client.order(promo).await;
    let order = client.accepted(request).await;
    client.outcome(order).await;
    let again = json!({ "email": ADMIN_EMAIL, "password": "a guess" });
    admin.write("/api/v1/sessions", again).await.expect_problem(429, "rate_limited");

    let scrape = admin.read("/metrics").await;
    assert_eq!(scrape.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    // The last of them are counted after the shopper has heard.
    let counted = || async {
        let metrics = admin.text("/metrics").await;
        let seen = |begins| sum(&metrics, begins) >= 1.0;
        let all = seen("panicbuy_sockets ")
            && seen("panicbuy_orders_total{result=\"accepted\"}")
            && seen("panicbuy_outcomes_total{status=\"awaiting_payment\"}")
            && seen("panicbuy_batch_seconds_count")
            && seen("panicbuy_settle_seconds_count")
            && seen("panicbuy_passes_total{event=\"given\"}")
            && seen("panicbuy_limits_hit_total{limit=\"log_in\"}");
        all.then_some(metrics)
    };
    let metrics = eventually("the sale to be counted", counted).await;
    for (family, kind) in [
        ("panicbuy_sockets", "gauge"),
        ("panicbuy_orders_total", "counter"),
        ("panicbuy_outcomes_total", "counter"),
        ("panicbuy_batch_seconds", "histogram"),
        ("panicbuy_settle_seconds", "histogram"),
        ("panicbuy_log_lag_records", "gauge"),
        ("panicbuy_passes_total", "counter"),
        ("panicbuy_limits_hit_total", "counter"),
    ] {
        assert!(
            metrics.contains(&format!("# TYPE {family} {kind}\n")),
            "{family} is not a {kind}: {metrics}"
        );
        assert!(metrics.contains(&format!("# HELP {family} ")), "{family} is not explained: {metrics}");
    }
    drop(client);
    server.stop().await;
}
