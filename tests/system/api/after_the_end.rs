//! What an ended promo has left goes home to its item: at once, or when the last unpaid order is given up.

use panicbuy::domain::{ItemId, OrderId, OrderStatus, Phase, PromoId};
use serde_json::{Value, json};

use super::open;
use crate::support::{
    Server,
    client::Client,
    eventually,
    shop::{Sale, Shop, enrol},
};

/// Buys one unit; returns the socket, and the order, which waits for its payment.
async fn buy(server: &Server, token: &str, promo: PromoId) -> (Client, OrderId) {
    let (mut client, _) = Client::join(server.address, token, promo).await;
    client.state(|state| state.phase == Phase::Admitted).await;
    let request = client.order(promo).await;
    let order = client.accepted(request).await;
    client.outcome(order).await;
    client.state(|state| state.phase == Phase::Confirmed).await;
    (client, order)
}

async fn end(admin: &Shop, promo: PromoId) {
    let ended = admin.write(&format!("/api/v1/promos/{promo}/end"), Value::Null).await.expect(200);
    assert_eq!((&ended["status"], &ended["available"]), (&json!("ended"), &json!(0)));
}

async fn comes_home(shop: &Shop, item: ItemId) {
    let whole = || async { (shop.item_stock(item).await == (10, 10)).then_some(()) };
    eventually("every unit to be the item's again", whole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_ends_a_promo_and_brings_its_stock_back() {
    let (server, admin, visitor) = open().await;
    let item = admin.create_item(10).await;
    let promo = admin.put_on_sale(item, &Sale { stock: 4, lasts_ms: 3000, ..Sale::default() }).await;
    assert_eq!(visitor.item_stock(item).await, (6, 6));
    comes_home(&visitor, item).await;
    assert_eq!(visitor.get(&format!("/api/v1/promos/{promo}")).await["status"], "ended");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_lapses_after_the_end_sends_its_unit_home() {
    let (server, admin, visitor) = open().await;
    let item = admin.create_item(10).await;
    let token = enrol(&server, 1).await.remove(0);
    let sale = Sale { stock: 4, payment_window_ms: 3000, ..Sale::default() };
    let promo = admin.put_on_sale(item, &sale).await;
    let (mut client, order) = buy(&server, &token, promo).await;
    end(&admin, promo).await;
    assert_eq!(visitor.item_stock(item).await, (9, 9), "one unit is in an order that may yet be paid");

    let lapsed = client.state(|state| state.status == Some(OrderStatus::Expired)).await;
    assert_eq!((lapsed.phase, lapsed.order_id), (Phase::None, Some(order)));
    comes_home(&visitor, item).await;
    let audit = admin.audit(promo).await;
    assert_eq!((&audit["initial"], &audit["database"]["initial"]), (&json!(0), &json!(0)));
    drop(client);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_lapses_under_the_next_process_sends_its_unit_home_too() {
    let (server, admin, _) = open().await;
    let item = admin.create_item(10).await;
    let token = enrol(&server, 1).await.remove(0);
    let sale = Sale { stock: 4, payment_window_ms: 2000, ..Sale::default() };
    let promo = admin.put_on_sale(item, &sale).await;
    buy(&server, &token, promo).await;
    end(&admin, promo).await;

    let server = Server::at(server.stop().await, &[]).await;
    let admin = Shop::admin(server.address).await;
    comes_home(&admin, item).await;
    admin.audit(promo).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_an_order_to_pay_is_told_so_after_the_end() {
    let (server, admin, visitor) = open().await;
    let item = admin.create_item(10).await;
    let tokens = enrol(&server, 2).await;
    let promo = admin.put_on_sale(item, &Sale { stock: 1, ..Sale::default() }).await;
    let (mut client, order) = buy(&server, &tokens[0], promo).await;
    let (mut other, _) = Client::join(server.address, &tokens[1], promo).await;
    end(&admin, promo).await;
    let sent_home = other.state(|state| state.phase == Phase::None).await;
    assert_eq!(sent_home.order_id, None);

    let (_, welcome) = Client::hello(server.address, Some(&tokens[0])).await;
    let states: Vec<_> = welcome
        .states
        .iter()
        .map(|state| (state.promo_id, state.phase, state.order_id, state.status))
        .collect();
    assert_eq!(states, [(promo, Phase::Confirmed, Some(order), Some(OrderStatus::AwaitingPayment))]);
    let (_, welcome) = Client::hello(server.address, Some(&tokens[1])).await;
    assert!(welcome.states.is_empty(), "{:?}", welcome.states);

    let shopper = visitor.with_token(&tokens[0]);
    let cancelled = shopper.write(&format!("/api/v1/orders/{order}/cancel"), Value::Null).await.expect(200);
    assert_eq!(cancelled["status"], "cancelled");
    client.state(|state| state.status == Some(OrderStatus::Cancelled)).await;
    comes_home(&visitor, item).await;
    drop((client, other));
    server.stop().await;
}
