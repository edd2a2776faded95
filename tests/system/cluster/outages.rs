//! Servers that fail in the middle of a sale, on servers of the tests' own.
//!
//! An outage lasts for `PANICBUY_TEST_OUTAGE_MS` after it was noticed, a second where that is not set.

use std::{collections::BTreeSet, process::Command};

use futures_util::StreamExt as _;
use panicbuy::{domain::Phase, gateway::protocol::StateFrame};
use panicbuy_test_servers::{OwnServers, outage, own_ports};
use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    sync::{Mutex, MutexGuard},
    task::JoinSet,
};

use super::{
    crowd::{Crowd, check, enrol},
    fleet::Fleet,
};
use crate::support::{
    client::Client,
    eventually,
    home::Home,
    shop::{Sale, Shop},
};

const UNITS: usize = 12;

/// One set of servers of the tests' own at a time: they take memory, and share their ports.
static OWN_SERVERS: Mutex<()> = Mutex::const_new(());

/// A set, and the turn that ends after it.
async fn own_servers(folder: &TempDir) -> (MutexGuard<'static, ()>, OwnServers) {
    let turn = OWN_SERVERS.lock().await;
    (turn, tokio::task::block_in_place(|| OwnServers::start(folder.path(), own_ports(1))))
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

/// The outage is noticed, and lasts as long as the tests are told.
async fn stays_missing(fleet: &Fleet, part: &str) {
    until_missing(fleet, part).await;
    tokio::time::sleep(outage()).await;
    until_missing(fleet, part).await;
}

/// Reads, however long nothing comes, until the connection ends.
async fn look_on(mut client: Client) {
    while let Some(Ok(_)) = client.socket.next().await {}
}

/// A sale during which something happens to the servers when `UNITS / 3` are sold.
async fn sale_with(fleet: &Fleet, trouble: impl AsyncFnOnce()) {
    // Slow enough that the trouble falls into the middle.
    let sale = Sale { stock: 12, rate_per_s: 2, ..Sale::default() };
    let promo = Shop::admin(fleet.address()).await.publish(&sale).await;
    let tokens = enrol(fleet.address(), UNITS + 4).await;
    let mut onlookers = JoinSet::new();
    for gateway in &fleet.gateways {
        let (client, _) = Client::hello(gateway.address, None).await;
        onlookers.spawn(look_on(client));
    }
    let crowd = Crowd::send(&tokens, &fleet.addresses(), promo);
    crowd.until_bought(UNITS / 3).await;
    trouble().await;
    until_ready(fleet).await;
    crowd.until_bought(UNITS).await;
    let stories = crowd.stories().await;
    check(&stories, &tokens, fleet.address(), promo, UNITS).await;
    let refused: BTreeSet<&str> = stories.iter().flat_map(|story| story.refused.iter().copied()).collect();
    let honest = BTreeSet::from(["unavailable", "not_ready", "no_pass", "sold_out"]);
    assert!(refused.is_subset(&honest), "nothing but what is true in an outage: {refused:?}");
    assert!(onlookers.try_join_next().is_none(), "a socket did not stay");
    for process in fleet.gateways.iter().chain(&fleet.writers) {
        let (status, _) = Shop::visitor(process.address).call(Method::GET, "/healthz", None).await;
        assert!(status.is_success(), "a process did not stay");
    }
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
    let (_turn, own) = own_servers(&folder).await;
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
        stays_missing(&fleet, "redis").await;
        tell("start", "redis");
    })
    .await;
    // The broker hangs, and goes on.
    sale_with(&fleet, async || {
        tell("pause", "kafka");
        stays_missing(&fleet, "order_log").await;
        tell("resume", "kafka");
    })
    .await;
    // The broker is restarted.
    sale_with(&fleet, async || {
        tell("stop", "kafka");
        stays_missing(&fleet, "order_log").await;
        tell("start", "kafka");
    })
    .await;
    // The database is restarted.
    sale_with(&fleet, async || {
        tell("stop", "database");
        stays_missing(&fleet, "database").await;
        tell("start", "database");
    })
    .await;
    // Before its servers.
    drop(fleet);
}

/// How long a pass lasts: longer than it takes to notice an outage, shorter than the outage.
const PASS_MS: u64 = 20_000;

/// Kafka hangs for longer than passes last. Nobody loses theirs, nobody is called meanwhile, and all of them buy afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_loses_a_pass_to_an_outage_of_kafka() {
    let folder = TempDir::new().unwrap();
    let (_turn, own) = own_servers(&folder).await;
    let tell = |verb: &str, server: &str| tokio::task::block_in_place(|| own.tell(verb, server));
    // Shoppers are listened to one after the other, and must not seem dead meanwhile.
    let flags = ["--kafka-timeout-ms", "1000", "--heartbeat-ms", "600000"];
    let fleet = Fleet::start(Home::on(&own.servers), &flags);
    let sale = Sale { stock: 5, max_active: 4, pass_ttl_ms: PASS_MS, ..Sale::default() };
    let promo = Shop::admin(fleet.address()).await.publish(&sale).await;
    let tokens = enrol(fleet.address(), 5).await;
    let mut shoppers = Vec::new();
    for (nth, token) in tokens.iter().enumerate().take(4) {
        let (mut client, _) = Client::join(fleet.gateways[nth % 2].address, token, promo).await;
        let told = client.state(|state| state.phase == Phase::Admitted).await;
        client.forget();
        shoppers.push((client, told.pass_expires_at.expect("a pass ends")));
    }
    tell("pause", "kafka");
    until_missing(&fleet, "order_log").await;
    let (mut last, _) = Client::join(fleet.address(), &tokens[4], promo).await;

    // Each is told a later end again and again, until well after the first one: the pass outlives it.
    for (client, first) in &mut shoppers {
        let after = first.plus_millis(PASS_MS);
        let is_kept = |state: &StateFrame| {
            assert_eq!(state.phase, Phase::Admitted, "a pass was lost: {state:?}");
            state.pass_expires_at > Some(after)
        };
        client.state(is_kept).await;
        client.forget();
    }
    tell("resume", "kafka");
    until_ready(&fleet).await;
    for (client, _) in &mut shoppers {
        let order = client.insist(promo).await;
        client.outcome(order).await;
    }
    let called = last.state(|state| state.phase == Phase::Admitted).await;
    assert_eq!(called.number, Some(5), "only now");
    // Before its servers.
    drop(fleet);
}
