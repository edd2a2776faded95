//! Two gateways and two writers, all of them well.

use panicbuy::{domain::Phase, gateway::protocol::ClientFrame};

use super::{
    crowd::{Crowd, check, enrol},
    fleet::Fleet,
};
use crate::support::{
    client::Client,
    home::Home,
    shop::{Sale, Shop},
};

/// Whatever gateway a shopper's sockets are on, each hears it all: the place, the pass, the order and its outcome.
#[tokio::test(flavor = "multi_thread")]
async fn a_shopper_hears_everything_on_every_gateway() {
    let fleet = Fleet::start(Home::new(), &[]);
    let token = enrol(fleet.address(), 1).await.remove(0);
    let promo = Shop::admin(fleet.address()).await.publish(&Sale { stock: 2, ..Sale::default() }).await;
    let (mut one, _) = Client::hello(fleet.gateways[0].address, Some(&token)).await;
    let (mut two, _) = Client::hello(fleet.gateways[1].address, Some(&token)).await;
    one.say(&ClientFrame::Join { promo_id: promo }).await;
    one.state(|state| state.phase == Phase::Admitted).await;
    two.state(|state| state.phase == Phase::Admitted).await;
    let request = one.order(promo).await;
    let order = one.accepted(request).await;
    two.state(|state| state.phase == Phase::Pending && state.order_id == Some(order)).await;
    one.outcome(order).await;
    two.outcome(order).await;
    two.state(|state| state.phase == Phase::Confirmed).await;

    // The answer is the same on the other gateway, and what becomes of the order is heard on both.
    two.repeat_order(promo, request).await;
    assert_eq!(two.accepted(request).await, order);
    let paid = Shop::visitor(fleet.gateways[1].address).with_token(&token);
    paid.write(&format!("/api/v1/orders/{order}/pay"), serde_json::json!({})).await.expect(200);
    for client in [&mut one, &mut two] {
        client.state(|state| state.status.is_some_and(|status| status.as_str() == "paid")).await;
    }
}

/// Two gateways give out one line: numbers are dense and everybody's own.
#[tokio::test(flavor = "multi_thread")]
async fn one_line_over_two_gateways() {
    let fleet = Fleet::start(Home::new(), &[]);
    let promo = Shop::admin(fleet.address()).await.publish(&Sale { stock: 1, ..Sale::default() }).await;
    let tokens = enrol(fleet.address(), 8).await;
    let mut numbers = Vec::new();
    for (nth, token) in tokens.iter().enumerate() {
        let (_, state) = Client::join(fleet.gateways[nth % 2].address, token, promo).await;
        numbers.push(state.number.expect("a number"));
    }
    assert_eq!(numbers, (1..=8).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_over_two_gateways_and_two_writers() {
    let fleet = Fleet::start(Home::new(), &[]);
    let promo = Shop::admin(fleet.address()).await.publish(&Sale { stock: 20, ..Sale::default() }).await;
    let tokens = enrol(fleet.address(), 40).await;
    let crowd = Crowd::send(&tokens, &fleet.addresses(), promo);
    crowd.until_bought(20).await;
    let stories = crowd.stories().await;
    assert!(stories.iter().all(|story| story.stranded.is_empty()), "{stories:?}");
    check(&stories, &tokens, fleet.address(), promo, 20).await;
}
