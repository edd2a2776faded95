//! The real process dies at each step of the pipeline. After a restart every accepted order has its outcome, the stock is
//! conserved, nobody bought twice, and the sale goes on by itself.

use std::{collections::BTreeSet, net::SocketAddr, path::Path, time::Duration};

use futures_util::future::join_all;
use panicbuy::{
    domain::{OrderId, Phase, PromoId, RequestId},
    random,
    store::sqlite::{SqliteSettings, SqliteStore},
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    client::Client,
    eventually,
    process::Process,
    shop::{Sale, Shop},
};

const SHOPPERS: usize = 6;
const UNITS: u32 = 4;

/// A shopper who keeps trying under one request, as a careful client does.
#[derive(Clone)]
struct Buyer {
    token: String,
    request: RequestId,
}

struct Scene {
    directory: TempDir,
    buyers: Vec<Buyer>,
    promo: PromoId,
}

/// Registers the shoppers and publishes the sale.
async fn prepare() -> Scene {
    let directory = TempDir::new().unwrap();
    let process = Process::start(directory.path(), "", &[]);
    let visitor = Shop::visitor(process.address);
    let mut buyers = Vec::new();
    for number in 0..SHOPPERS {
        let shop = visitor.register(&format!("buyer{number}@shop.example")).await;
        buyers.push(Buyer { token: shop.token.unwrap(), request: RequestId(random::uuid()) });
    }
    let admin = Shop::admin(process.address).await;
    let promo = admin.publish(&Sale { stock: UNITS, ..Sale::default() }).await;
    process.kill();
    Scene { directory, buyers, promo }
}

/// Joins, waits for a pass and orders; what was heard before the connection ended.
async fn try_to_buy(address: SocketAddr, buyer: &Buyer, promo: PromoId) -> Option<OrderId> {
    Client::may_connect(address).await?.buy(&buyer.token, buyer.request, promo).await
}

/// Restarts, lets everybody try again until the stock is gone, and checks the promises.
async fn restart_and_check(scene: Scene, accepted: Vec<Option<OrderId>>) {
    let Scene { directory, buyers, promo } = scene;
    let process = Process::start(directory.path(), "", &[]);
    let visitor = Shop::visitor(process.address);
    for (buyer, order) in buyers.iter().zip(&accepted) {
        let Some(order) = order else { continue };
        let shop = visitor.with_token(&buyer.token);
        let found = shop.get(&format!("/api/v1/orders/{order}")).await;
        assert_eq!(found["status"], "awaiting_payment", "an accepted order has its outcome: {found}");
        let (_, welcome) = Client::hello(process.address, Some(&buyer.token)).await;
        let state = welcome.states.iter().find(|state| state.promo_id == promo).expect("a state");
        assert_eq!((state.phase, state.order_id), (Phase::Confirmed, Some(*order)));
    }
    let again = join_all(buyers.iter().map(|buyer| try_to_buy(process.address, buyer, promo))).await;
    for (first, second) in accepted.iter().zip(&again) {
        if first.is_some() {
            assert_eq!(first, second, "who was accepted keeps that order");
        }
    }
    check_books(&process, &buyers, promo).await;
    process.kill();
}

/// Everything is sold, to different people, once each.
async fn check_books(process: &Process, buyers: &[Buyer], promo: PromoId) {
    let admin = Shop::admin(process.address).await;
    let sold_out = || async { Some(admin.audit(promo).await).filter(|audit| audit["sold"] == UNITS) };
    let audit = eventually("the sale to go on by itself", sold_out).await;
    assert_eq!((&audit["available"], &audit["database"]["sold"]), (&json!(0), &json!(UNITS)));
    let mut orders = BTreeSet::new();
    for buyer in buyers {
        let list = admin.with_token(&buyer.token).get("/api/v1/orders").await;
        let list = list["data"].as_array().unwrap().clone();
        assert!(list.len() <= 1, "nobody bought twice: {list:?}");
        orders.extend(list.iter().map(|order| order["order_id"].to_string()));
    }
    assert_eq!(orders.len(), UNITS as usize);
}

/// Lets everybody order while the program dies at this point, the `after`-th time it comes there.
async fn dies_at(point: &str, after: u32) {
    let scene = prepare().await;
    let failpoints = format!("{point}={after}*off->return");
    let process = Process::start(scene.directory.path(), &failpoints, &[]);
    let address = process.address;
    let accepted = join_all(scene.buyers.iter().map(|buyer| try_to_buy(address, buyer, scene.promo))).await;
    assert!(!process.died().await.success(), "the program died at {point}");
    restart_and_check(scene, accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dies_after_reserving_before_logging() {
    dies_at("order.reserved", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dies_after_logging_before_answering() {
    dies_at("order.appended", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dies_after_the_database_commit_before_settling() {
    dies_at("writer.committed", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dies_after_settling_before_committing_the_offset() {
    dies_at("writer.settled", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dies_after_committing_the_offset() {
    dies_at("writer.offset_committed", 0).await;
}

/// Killed again and again at arbitrary instants, while people buy and pay.
#[tokio::test(flavor = "multi_thread")]
async fn is_killed_again_and_again() {
    let scene = prepare().await;
    let mut accepted: Vec<Option<OrderId>> = vec![None; SHOPPERS];
    for round in 0..5_u64 {
        let process = Process::start(scene.directory.path(), "", &[]);
        let address = process.address;
        let buying = join_all(scene.buyers.iter().map(|buyer| try_and_pay(address, buyer, scene.promo)));
        let killed = async {
            // An arbitrary instant, not a wait for something.
            tokio::time::sleep(Duration::from_millis(15 + 25 * round)).await;
            process.kill();
        };
        let (heard, ()) = tokio::join!(buying, killed);
        for (known, heard) in accepted.iter_mut().zip(heard) {
            assert!(known.is_none() || heard.is_none() || *known == heard, "one order each");
            *known = known.or(heard);
        }
    }
    let Scene { directory, buyers, promo } = scene;
    let process = Process::start(directory.path(), "", &[]);
    for (buyer, order) in buyers.iter().zip(&accepted) {
        let Some(order) = order else { continue };
        let found = paid(&Shop::visitor(process.address).with_token(&buyer.token), *order).await;
        assert_eq!(found["status"], "paid");
    }
    join_all(buyers.iter().map(|buyer| try_to_buy(process.address, buyer, promo))).await;
    check_books(&process, &buyers, promo).await;
    process.kill();
}

async fn try_and_pay(address: SocketAddr, buyer: &Buyer, promo: PromoId) -> Option<OrderId> {
    let order = try_to_buy(address, buyer, promo).await?;
    let shop = Shop::visitor(address).with_token(&buyer.token);
    let _ = shop.try_post(&format!("/api/v1/orders/{order}/pay"), json!({})).await;
    Some(order)
}

/// Pays, as often as it takes; paying what is paid is the same.
async fn paid(shop: &Shop, order: OrderId) -> Value {
    let (status, body) = shop.post(&format!("/api/v1/orders/{order}/pay"), json!({})).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (status, again) = shop.post(&format!("/api/v1/orders/{order}/pay"), json!({})).await;
    assert_eq!((status, &again), (StatusCode::OK, &body), "paying twice is paying once");
    body
}

/// The log refuses a few appends: the shopper is not told a lie, and hears "accepted" once the relay got it through.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_the_log_refused_is_relayed_and_answered() {
    let scene = prepare().await;
    let process =
        Process::start(scene.directory.path(), "log.insert=2*return->off", &["--relay-after-ms", "200"]);
    let buyer = &scene.buyers[0];
    let order = try_to_buy(process.address, buyer, scene.promo).await.expect("accepted, later");
    let shop = Shop::visitor(process.address).with_token(&buyer.token);
    let path = format!("/api/v1/orders/{order}");
    eventually("the outcome", || async {
        Some(shop.get(&path).await).filter(|order| order["status"] == "awaiting_payment")
    })
    .await;
    process.kill();
}

/// While the log refuses, new orders are refused before anything is taken, and `/readyz` says what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn orders_are_refused_while_the_log_is_down() {
    let scene = prepare().await;
    let process = Process::start(scene.directory.path(), "log.insert=return", &["--relay-after-ms", "60000"]);
    let visitor = Shop::visitor(process.address);
    let promo = scene.promo;
    let order = || json!({ "promo_id": promo, "quantity": 1, "request_id": random::uuid() });
    let mut refused = 0;
    for buyer in &scene.buyers {
        let (mut client, _) = Client::join(process.address, &buyer.token, promo).await;
        if refused == 0 {
            client.state(|state| state.phase == Phase::Admitted).await;
        }
        let (status, body) = visitor.with_token(&buyer.token).post("/api/v1/orders", order()).await;
        assert!(!status.is_success(), "{body}");
        refused += u32::from(body["code"] == "unavailable");
    }
    assert!(refused > 0, "somebody was refused as unavailable");
    let (status, readiness) = visitor.call(reqwest::Method::GET, "/readyz", None).await;
    assert_eq!((status, &readiness["parts"]["order_log"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(false)));
    process.kill();
    restart_and_check(scene, vec![None; SHOPPERS]).await;
}

/// A record that nobody can read goes to the dead letters and holds nothing up.
#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_record_does_not_stop_the_log() {
    let scene = prepare().await;
    poison(scene.directory.path()).await;
    restart_and_check(scene, vec![None; SHOPPERS]).await;
}

async fn poison(directory: &Path) {
    let url = format!("sqlite:{}", directory.join("shop.db").display());
    let store = SqliteStore::open(&url, &SqliteSettings::default()).await.unwrap();
    for payload in ["noise", r#"{"v":1,"order_id":"019a0000-0000-7000-8000-000000000000","pool":"promo:1"}"#]
    {
        sqlx::query("INSERT INTO order_log (pool_id, payload) VALUES ('promo:1', ?)")
            .bind(payload)
            .execute(store.writer())
            .await
            .unwrap();
    }
    store.close().await;
}

/// Places outlive a deploy and a kill; so does a pass, whose time stands still meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn places_and_passes_outlive_the_process() {
    let scene = prepare().await;
    let directory = scene.directory.path();
    let admin = |process: &Process| Shop::admin(process.address);
    let mut process = Process::start(directory, "", &["--room-save-ms", "20"]);
    let sale = Sale { stock: 1, ..Sale::default() };
    let promo = admin(&process).await.publish(&sale).await;
    let (mut first, _) = Client::join(process.address, &scene.buyers[0].token, promo).await;
    let admitted = first.state(|state| state.phase == Phase::Admitted).await;
    for buyer in &scene.buyers[1..] {
        Client::join(process.address, &buyer.token, promo).await;
    }
    let everybody = format!("\"number\":{SHOPPERS},");
    let saved = || async {
        let file = std::fs::read_to_string(directory.join("shop.db.rooms")).unwrap_or_default();
        file.contains(&everybody).then_some(())
    };
    eventually("the places to be saved", saved).await;

    for goodbye in [Process::terminate, Process::kill] {
        goodbye(process);
        process = Process::start(directory, "", &[]);
        for (number, buyer) in (1..).zip(&scene.buyers) {
            let (_, welcome) = Client::hello(process.address, Some(&buyer.token)).await;
            let state = welcome.states.iter().find(|state| state.promo_id == promo).expect("a place");
            assert_eq!(state.number, Some(number));
            if number == 1 {
                assert_eq!(state.phase, Phase::Admitted);
                assert!(state.pass_expires_at >= admitted.pass_expires_at);
            }
        }
    }
    let order = try_to_buy(process.address, &scene.buyers[0], promo).await;
    assert!(order.is_some(), "the pass is still good");
    process.kill();
}
