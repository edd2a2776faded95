//! A repeated request gets the first answer, whatever has changed in between; and "accepted" comes before the outcome.

use panicbuy::{
    domain::{ItemId, OrderId, Phase, RequestId},
    gateway::protocol::{ClientFrame, OrderFrame},
    random,
};
use reqwest::StatusCode;
use serde_json::json;

use crate::support::{
    Server,
    client::Client,
    shop::{Sale, Shop, enrol},
};

async fn order_item(client: &mut Client, item: ItemId, request_id: RequestId) -> OrderId {
    let order = OrderFrame { request_id, promo_id: None, item_id: Some(item), quantity: 1 };
    client.say(&ClientFrame::Order(order)).await;
    client.accepted(request_id).await
}

/// An item's order draws on another pool once a promo of the item is on, and on the first again when it is over.
#[tokio::test(flavor = "multi_thread")]
async fn the_pool_may_change_but_the_answer_does_not() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let token = enrol(&server, 1).await.remove(0);
    let item = admin.create_item(10).await;
    let (mut client, _) = Client::hello(server.address, Some(&token)).await;
    let before = RequestId(random::uuid());
    let at_list_price = order_item(&mut client, item, before).await;

    let promo = admin.draft(item, &Sale { stock: 5, ..Sale::default() }).await;
    let stage = |stage: &str| format!("/api/v1/promos/{promo}/{stage}");
    assert_eq!(admin.post(&stage("publish"), json!({})).await.0, StatusCode::OK);
    assert_eq!(order_item(&mut client, item, before).await, at_list_price, "while the promo is on");

    client.say(&ClientFrame::Join { promo_id: promo }).await;
    client.state(|state| state.phase == Phase::Admitted).await;
    let during = RequestId(random::uuid());
    let at_promo_price = order_item(&mut client, item, during).await;
    assert_eq!(client.outcome(at_promo_price).await.price_minor.unwrap().0, 1999);
    assert_eq!(admin.post(&stage("end"), json!({})).await.0, StatusCode::OK);
    assert_eq!(order_item(&mut client, item, during).await, at_promo_price, "after the promo");

    let list = admin.with_token(&token).get("/api/v1/orders").await;
    assert_eq!(list["data"].as_array().unwrap().len(), 2, "nothing was taken by the repetitions");
    server.stop().await;
}
