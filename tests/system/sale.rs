//! A whole sale through real sockets: what everybody hears, and what is left when it is over.

use std::collections::HashSet;

use crate::support::{
    Server,
    client::Client,
    eventually,
    shop::{Sale, Shop, enrol},
};
use futures_util::future::join_all;
use panicbuy::{
    domain::{OrderStatus, Phase, PromoId, Reason},
    gateway::protocol::{ClientFrame, ServerFrame},
};
use reqwest::{Method, StatusCode};
use serde_json::json;

const SHOPPERS: usize = 200;
const UNITS: u32 = 50;

/// What one shopper of the sale heard.
struct Heard {
    number: u64,
    bought: bool,
}

/// Waits for a pass as long as there is hope, buys, and checks every frame on the way.
async fn shop_for_one(server: &Server, token: &str, promo: PromoId) -> Heard {
    let (mut client, joined) = Client::join(server.address, token, promo).await;
    assert_eq!(joined.phase, Phase::Lobby);
    let queued = client.state(|state| state.number.is_some()).await;
    let number = queued.number.unwrap();
    let mut admitted = queued.phase == Phase::Admitted;
    while !admitted {
        match client.next().await.unwrap() {
            ServerFrame::State(state) => {
                assert_eq!(state.number, Some(number), "a number never changes");
                admitted = state.phase == Phase::Admitted;
            }
            ServerFrame::Stock(stock) if stock.available == 0 => return Heard { number, bought: false },
            _ => {}
        }
    }
    client.forget();
    let request = client.order(promo).await;
    let order = client.accepted(request).await;
    let outcome = client.outcome(order).await;
    assert_eq!(outcome.status, OrderStatus::AwaitingPayment);
    assert_eq!(outcome.price_minor.unwrap().0, 1999);
    let confirmed = client.state(|state| state.phase == Phase::Confirmed).await;
    assert_eq!(confirmed.order_id, Some(order));
    let shop = Shop::visitor(server.address).with_token(token);
    let (status, paid) = shop.post(&format!("/api/v1/orders/{order}/pay"), json!({})).await;
    assert_eq!((status, &paid["status"]), (StatusCode::OK, &json!("paid")));
    client.state(|state| state.status == Some(OrderStatus::Paid)).await;
    Heard { number, bought: true }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_shoppers_buy_fifty_units_and_not_one_more() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let sale = Sale { stock: UNITS, opens_in_ms: 3000, rate_per_s: 200, max_active: 30, ..Sale::default() };
    let tokens = enrol(&server, SHOPPERS).await;
    let promo = admin.publish(&sale).await;

    let heard = join_all(tokens.iter().map(|token| shop_for_one(&server, token, promo))).await;

    let numbers: HashSet<u64> = heard.iter().map(|heard| heard.number).collect();
    assert_eq!(numbers, (1..=SHOPPERS as u64).collect(), "numbers are dense and unique");
    let mut winners: Vec<u64> = heard.iter().filter(|heard| heard.bought).map(|heard| heard.number).collect();
    winners.sort_unstable();
    assert_eq!(winners, (1..=u64::from(UNITS)).collect::<Vec<_>>(), "the first in line bought, nobody else");
    let audit = admin.audit(promo).await;
    assert_eq!((&audit["sold"], &audit["available"]), (&json!(UNITS), &json!(0)));
    assert_eq!(audit["database"]["sold"], json!(UNITS));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaid_order_lapses_and_its_unit_goes_to_the_next_in_line() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let tokens = enrol(&server, 2).await;
    let sale = Sale { stock: 1, payment_window_ms: 1000, ..Sale::default() };
    let promo = admin.publish(&sale).await;

    let (mut first, _) = Client::join(server.address, &tokens[0], promo).await;
    first.state(|state| state.phase == Phase::Admitted).await;
    let (mut second, waiting) = Client::join(server.address, &tokens[1], promo).await;
    assert_eq!(waiting.phase, Phase::Queued);
    let request = first.order(promo).await;
    let order = first.accepted(request).await;
    first.outcome(order).await;

    second
        .find(|frame| matches!(frame, ServerFrame::Stock(stock) if stock.available == 0).then_some(()))
        .await;
    let lapsed = first.state(|state| state.status == Some(OrderStatus::Expired)).await;
    assert_eq!((lapsed.phase, lapsed.order_id), (Phase::None, Some(order)));
    second.state(|state| state.phase == Phase::Admitted).await;

    let late = Shop::visitor(server.address).with_token(&tokens[0]);
    let (status, problem) = late.post(&format!("/api/v1/orders/{order}/pay"), json!({})).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("wrong_status")));
    let request = second.order(promo).await;
    second.accepted(request).await;
    admin.audit(promo).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_come_in_the_contracts_order_and_take_nothing() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let tokens = enrol(&server, 2).await;
    let later = admin.publish(&Sale { opens_in_ms: 600_000, ..Sale::default() }).await;
    let promo = admin.publish(&Sale { stock: 1, ..Sale::default() }).await;
    let (mut client, _) = Client::hello(server.address, Some(&tokens[0])).await;

    assert_eq!(refusal(&mut client, later).await, Reason::NotStarted);
    assert_eq!(refusal(&mut client, PromoId(999)).await, Reason::BadRequest);
    assert_eq!(refusal(&mut client, promo).await, Reason::NoPass);
    post(&admin, promo, "pause").await;
    assert_eq!(refusal(&mut client, promo).await, Reason::Paused);
    post(&admin, promo, "resume").await;

    client.say(&ClientFrame::Join { promo_id: promo }).await;
    client.state(|state| state.phase == Phase::Admitted).await;
    let request = client.order(promo).await;
    let order = client.accepted(request).await;
    client.outcome(order).await;
    client.repeat_order(promo, request).await;
    assert_eq!(client.accepted(request).await, order, "a repeated request gets the first answer");
    assert_eq!(admin.audit(promo).await["sold"], 1, "and takes nothing");

    post(&admin, promo, "end").await;
    assert_eq!(refusal(&mut client, promo).await, Reason::Ended);
    server.stop().await;
}

/// A second order of somebody whose limit allows it, and whose pass could not cover it otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn limits_and_stock_are_checked_after_the_pass() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let tokens = enrol(&server, 1).await;
    let shopper = Shop::visitor(server.address).with_token(&tokens[0]);
    let promo = admin.publish(&Sale { stock: 2, per_user_limit: 3, ..Sale::default() }).await;
    let (mut client, _) = Client::join(server.address, &tokens[0], promo).await;
    client.state(|state| state.phase == Phase::Admitted).await;

    let order = |quantity: u32| json!({ "promo_id": promo, "quantity": quantity, "request_id": panicbuy::random::uuid() });
    let (status, problem) = shopper.post("/api/v1/orders", order(4)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("limit_reached")));
    let (status, problem) = shopper.post("/api/v1/orders", order(3)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("sold_out")));
    let (status, accepted) = shopper.post("/api/v1/orders", order(2)).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    let id = accepted["order_id"].as_str().unwrap();
    let path = format!("/api/v1/orders/{id}");
    let settled =
        || async { Some(shopper.get(&path).await).filter(|order| order["status"] == "awaiting_payment") };
    let settled = eventually("the outcome", settled).await;
    assert_eq!(settled["total_minor"], 2 * 1999);

    let (_, cancelled) = shopper.post(&format!("{path}/cancel"), json!({})).await;
    assert_eq!(cancelled["status"], "cancelled");
    let (status, again) = shopper.post(&format!("{path}/cancel"), json!({})).await;
    assert_eq!((status, again), (StatusCode::OK, cancelled), "cancelling twice is the same");
    let back = || async { (admin.audit(promo).await["available"] == 2).then_some(()) };
    eventually("the units come back", back).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_without_promo_sells_at_its_list_price_the_same_way() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let tokens = enrol(&server, 1).await;
    let item = admin.create_item(5).await;
    let (mut client, _) = Client::hello(server.address, Some(&tokens[0])).await;
    let request = panicbuy::random::uuid();
    client
        .say_text(
            &json!({ "type": "order", "request_id": request, "item_id": item, "quantity": 2 }).to_string(),
        )
        .await;
    let order = client.accepted(panicbuy::domain::RequestId(request)).await;
    let outcome = client.outcome(order).await;
    assert_eq!((outcome.promo_id, outcome.price_minor.unwrap().0), (None, 5000));
    let left = || async {
        let (_, item) = admin.call(Method::GET, &format!("/api/v1/items/{item}"), None).await;
        (item["available"] == 3 && item["stock"] == 3).then_some(())
    };
    eventually("the item's stock to be three", left).await;
    server.stop().await;
}

async fn refusal(client: &mut Client, promo: PromoId) -> Reason {
    let request = client.order(promo).await;
    match client.answer(request).await {
        ServerFrame::Refused { reason, .. } => reason,
        other => panic!("expected refused, got {other:?}"),
    }
}

async fn post(admin: &Shop, promo: PromoId, action: &str) {
    let (status, body) = admin.post(&format!("/api/v1/promos/{promo}/{action}"), json!({})).await;
    assert_eq!(status, StatusCode::OK, "{action}: {body}");
}
