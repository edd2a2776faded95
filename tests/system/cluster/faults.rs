//! Processes and servers that die in the middle of a sale.

use std::{process::Command, time::Duration};

use panicbuy_test_servers::OwnServers;
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use super::{
    crowd::{Crowd, check, enrol},
    fleet::Fleet,
};
use crate::support::{
    eventually,
    home::Home,
    shop::{Sale, Shop},
};

const UNITS: usize = 12;
/// Ports of the servers that are made to fail here.
const OWN_PORTS: u16 = 24_300;

/// A gateway or a writer dies at this point, the `after`-th time it comes there; the others carry on.
async fn one_dies_at(point: &str, after: u32) {
    let mut fleet = Fleet::start(Home::new(), &["--relay-after-ms", "300"]);
    let failpoints = format!("{point}={after}*off->return");
    let doomed = if point.starts_with("order.") {
        // It answers in place of the first gateway, so that shoppers come to it.
        let doomed = fleet.gateway(&failpoints);
        let address = doomed.address;
        fleet.addresses().write().unwrap()[0] = address;
        doomed
    } else {
        // It reads alone, so that the records come to it.
        fleet.writers.clear();
        fleet.writer(&failpoints)
    };
    let promo =
        Shop::admin(fleet.gateways[1].address).await.publish(&Sale { stock: 12, ..Sale::default() }).await;
    let tokens = enrol(fleet.gateways[1].address, UNITS + 4).await;
    let crowd = Crowd::send(&tokens, &fleet.addresses(), promo);
    assert!(!doomed.died().await.success(), "the process died at {point}");
    fleet.note_addresses();
    if fleet.writers.is_empty() {
        fleet.writers.push(fleet.writer(""));
    }
    crowd.until_bought(UNITS).await;
    let stories = crowd.stories().await;
    check(&stories, &tokens, fleet.gateways[1].address, promo, UNITS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_dies_between_reserve_and_append() {
    one_dies_at("order.reserved", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_dies_between_append_and_answer() {
    one_dies_at("order.appended", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_dies_between_commit_and_settle() {
    one_dies_at("writer.committed", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_dies_between_settle_and_offset_commit() {
    one_dies_at("writer.settled", 0).await;
}

/// Whether the shop is ready, and which parts are.
async fn readiness(fleet: &Fleet) -> (bool, Value) {
    let (status, body) = Shop::visitor(fleet.address()).call(Method::GET, "/readyz", None).await;
    (status.is_success(), body["parts"].clone())
}

async fn until_ready(fleet: &Fleet) {
    eventually("the shop to be ready again", || async { readiness(fleet).await.0.then_some(()) }).await;
}

async fn until_missing(fleet: &Fleet, part: &str) {
    eventually("/readyz to say what is missing", || async {
        (readiness(fleet).await.1[part] == false).then_some(())
    })
    .await;
}

/// A sale during which something happens to the servers when `UNITS / 3` are sold.
async fn sale_with(fleet: &Fleet, trouble: impl AsyncFnOnce()) {
    // Slow enough that the trouble falls into the middle.
    let sale = Sale { stock: 12, rate_per_s: 2, ..Sale::default() };
    let promo = Shop::admin(fleet.address()).await.publish(&sale).await;
    let tokens = enrol(fleet.address(), UNITS + 4).await;
    let crowd = Crowd::send(&tokens, &fleet.addresses(), promo);
    crowd.until_bought(UNITS / 3).await;
    trouble().await;
    until_ready(fleet).await;
    crowd.until_bought(UNITS).await;
    let stories = crowd.stories().await;
    check(&stories, &tokens, fleet.address(), promo, UNITS).await;
}

fn flush(redis_url: &str) {
    let flushed = Command::new("redis-cli").args(["-u", redis_url, "FLUSHALL"]).output().unwrap();
    assert!(flushed.status.success(), "{flushed:?}");
}

/// Each server fails in turn in the middle of a sale, on servers of the test's own. In one test, because they take a while
/// to start. After each: nothing oversold, the stock conserved, every accepted order answered, and the sale went on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn every_server_may_fail_during_a_sale() {
    let folder = TempDir::new().unwrap();
    let own = tokio::task::block_in_place(|| OwnServers::start(folder.path(), OWN_PORTS));
    let tell = |verb: &str, server: &str| tokio::task::block_in_place(|| own.tell(verb, server));
    let fleet = Fleet::start(
        Home::on(&own.servers),
        &["--kafka-timeout-ms", "1000", "--recovery-interval-ms", "200"],
    );

    // Redis is emptied: ledgers, places and passes are gone at once.
    sale_with(&fleet, async || flush(&own.servers.redis_url)).await;
    // Redis dies, and comes back perhaps older.
    sale_with(&fleet, async || {
        tell("kill", "redis");
        until_missing(&fleet, "redis").await;
        tell("start", "redis");
    })
    .await;
    // The broker hangs, and goes on.
    sale_with(&fleet, async || {
        tell("pause", "kafka");
        until_missing(&fleet, "order_log").await;
        tell("resume", "kafka");
    })
    .await;
    // The broker is restarted.
    sale_with(&fleet, async || {
        tell("stop", "kafka");
        until_missing(&fleet, "order_log").await;
        tell("start", "kafka");
    })
    .await;
    // The database is restarted.
    sale_with(&fleet, async || {
        tell("stop", "database");
        until_missing(&fleet, "database").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        tell("start", "database");
    })
    .await;
    // Before its servers.
    drop(fleet);
}
