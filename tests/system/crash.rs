//! The real process dies at each step of the pipeline. After a restart every accepted order has its outcome, the stock is
//! conserved, nobody bought twice, and the sale goes on by itself.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use futures_util::future::join_all;
use panicbuy::{
    domain::{OrderId, Phase, PromoId, RequestId},
    random,
};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    eventually,
    home::Home,
    process::Process,
    shop::{Sale, Shop},
};

pub const SHOPPERS: usize = 6;
const UNITS: u32 = 4;

/// A shopper who keeps trying under one request, as a careful client does.
#[derive(Clone)]
pub struct Buyer {
    pub token: String,
    pub request: RequestId,
}

pub struct Scene {
    pub home: Home,
    pub buyers: Vec<Buyer>,
    pub promo: PromoId,
}

/// Registers the shoppers and publishes the sale.
pub async fn prepare() -> Scene {
    let home = Home::new();
    let process = Process::start(&home, "", &[]);
    let visitor = Shop::visitor(process.address);
    let mut buyers = Vec::new();
    for number in 0..SHOPPERS {
        let shop = visitor.register(&format!("buyer{number}@shop.example")).await;
        buyers.push(Buyer { token: shop.token.unwrap(), request: RequestId(random::uuid()) });
    }
    let admin = Shop::admin(process.address).await;
    let promo = admin.publish(&Sale { stock: UNITS, ..Sale::default() }).await;
    process.kill();
    Scene { home, buyers, promo }
}

/// Joins, waits for a pass and orders; what was heard before the connection ended.
pub async fn try_to_buy(address: SocketAddr, buyer: &Buyer, promo: PromoId) -> Option<OrderId> {
    Client::may_connect(address).await?.buy(&buyer.token, buyer.request, promo).await
}

/// Restarts, lets everybody try again until the stock is gone, and checks the promises.
pub async fn restart_and_check(scene: Scene, accepted: Vec<Option<OrderId>>) {
    let Scene { home, buyers, promo } = scene;
    let process = Process::start(&home, "", &[]);
    let visitor = Shop::visitor(process.address);
    for (buyer, order) in buyers.iter().zip(&accepted) {
        let Some(order) = order else { continue };
        let shop = visitor.with_token(&buyer.token);
        let path = format!("/api/v1/orders/{order}");
        eventually("an accepted order to have its outcome", || async {
            Some(shop.get(&path).await).filter(|order| order["status"] == "awaiting_payment")
        })
        .await;
        eventually("the shopper to be told so", || async {
            let (_, welcome) = Client::hello(process.address, Some(&buyer.token)).await;
            let state = welcome.states.into_iter().find(|state| state.promo_id == promo).expect("a state");
            assert_eq!(state.order_id, Some(*order));
            (state.phase == Phase::Confirmed).then_some(())
        })
        .await;
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
    let process = Process::start(&scene.home, &failpoints, &[]);
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
        let process = Process::start(&scene.home, "", &[]);
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
    let Scene { home, buyers, promo } = scene;
    let process = Process::start(&home, "", &[]);
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
    let paid = || async {
        let (status, body) = shop.post(&format!("/api/v1/orders/{order}/pay"), json!({})).await;
        // An order that the next writer has yet to settle can be paid in a moment.
        assert!(status == StatusCode::OK || body["code"] == "wrong_status", "{status} {body}");
        (status == StatusCode::OK).then_some(body)
    };
    let body = eventually("the order to be paid", paid).await;
    let (status, again) = shop.post(&format!("/api/v1/orders/{order}/pay"), json!({})).await;
    assert_eq!((status, &again), (StatusCode::OK, &body), "paying twice is paying once");
    body
}
