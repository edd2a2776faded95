//! A repeated request gets the first answer, whatever has changed in between; and "accepted" comes before the outcome.

use panicbuy::{
    domain::{ItemId, OrderId, Phase, RequestId},
    gateway::protocol::{ClientFrame, OrderFrame, ServerFrame},
    random,
};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    Server,
    client::Client,
    eventually,
    process::Process,
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

/// A shopper with an account on a server of its own process, which `failpoints` trouble.
async fn troubled(directory: &TempDir, failpoints: &str, flags: &[&str]) -> (Process, Shop, Client) {
    let process = Process::start(directory.path(), failpoints, flags);
    let shop = Shop::visitor(process.address).register("buyer@shop.example").await;
    let (client, _) = Client::hello(process.address, shop.token.as_deref()).await;
    (process, shop, client)
}

/// The log takes longer than the shopper is kept waiting: "accepted" follows, and still before the outcome.
#[tokio::test(flavor = "multi_thread")]
async fn accepted_comes_before_the_outcome_even_if_it_comes_late() {
    let directory = TempDir::new().unwrap();
    let (process, _, mut client) =
        troubled(&directory, "log.insert=1*sleep(600)->off", &["--confirm-timeout-ms", "50"]).await;
    let admin = Shop::admin(process.address).await;
    let promo = admin.publish(&Sale::default()).await;
    client.say(&ClientFrame::Join { promo_id: promo }).await;
    client.state(|state| state.phase == Phase::Admitted).await;
    client.forget();
    let request = client.order(promo).await;
    let mut accepted = None;
    loop {
        match client.next().await.unwrap() {
            ServerFrame::Accepted { request_id, order_id } if request_id == request => {
                accepted = Some(order_id);
            }
            ServerFrame::Outcome(outcome) => {
                assert_eq!(accepted, Some(outcome.order_id), "the outcome of an order nobody had accepted");
                break;
            }
            ServerFrame::Refused { reason, .. } => panic!("refused {reason:?} while units are held"),
            _ => {}
        }
    }
    process.kill();
}

/// While the log is down a repetition of an order that holds units is not refused, and a new order is.
#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_is_not_refused_while_the_log_is_down() {
    let directory = TempDir::new().unwrap();
    let flags = ["--relay-after-ms", "60000", "--confirm-timeout-ms", "100"];
    let (process, shop, _client) = troubled(&directory, "log.insert=4*return->off", &flags).await;
    let item = Shop::admin(process.address).await.create_item(5).await;
    let order = json!({ "item_id": item, "quantity": 1, "request_id": random::uuid() });
    let (status, body) = shop.post("/api/v1/orders", order.clone()).await;
    assert_eq!((status, &body["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")), "{body}");
    let accepted = || async {
        let (status, body) = shop.post("/api/v1/orders", order.clone()).await;
        assert_ne!(body["code"], "rate_limited");
        (status == StatusCode::ACCEPTED).then_some(body["order_id"].clone())
    };
    let first = eventually("the repetition to be accepted", accepted).await;
    assert_eq!(accepted().await, Some(first));
    let orders = shop.get("/api/v1/orders").await;
    assert_eq!(orders["data"].as_array().unwrap().len(), 1);
    process.kill();
}

/// The log finds out by itself that it is well again, and so does `/readyz`.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_well_again_says_so() {
    let directory = TempDir::new().unwrap();
    let (process, shop, _client) =
        troubled(&directory, "log.insert=2*return->off", &["--relay-after-ms", "60000"]).await;
    let item = Shop::admin(process.address).await.create_item(5).await;
    let order = json!({ "item_id": item, "quantity": 1, "request_id": random::uuid() });
    shop.post("/api/v1/orders", order).await;
    let ready = || async { shop.call(Method::GET, "/readyz", None).await.0.is_success() };
    assert!(!ready().await);
    eventually("the server to be ready again", || async { ready().await.then_some(()) }).await;
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_do_not_serve_one_database() {
    let directory = TempDir::new().unwrap();
    let first = Process::start(directory.path(), "", &[]);
    let said = Process::refused(directory.path());
    assert!(said.contains("another process serves"), "{said}");
    first.kill();
    Process::start(directory.path(), "", &[]).kill();
}
