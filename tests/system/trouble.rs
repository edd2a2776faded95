//! Parts that do not answer, and what shoppers are told meanwhile.

use panicbuy::{
    domain::{Phase, PromoId, Reason},
    gateway::{
        close,
        protocol::{ByeReason, ClientFrame, ErrorCode, ServerFrame},
    },
    store::port::PromoStore,
};

use reqwest::Method;

use crate::support::{
    Server,
    client::{Client, Ended},
    eventually,
    shop::{Sale, Shop, enrol},
};

async fn refusal(client: &mut Client, promo: PromoId) -> (Reason, Option<u64>) {
    let request = client.order(promo).await;
    match client.answer(request).await {
        ServerFrame::Refused { reason, retry_after_ms, .. } => (reason, retry_after_ms),
        other => panic!("expected refused, got {other:?}"),
    }
}

/// A promo whose stock this server has not built yet, here because somebody else published it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_not_ready_says_so_and_keeps_nobody_from_the_others() {
    let server = Server::with(&["--cache-ms", "1"]).await;
    let admin = Shop::admin(server.address).await;
    let token = enrol(&server, 1).await.remove(0);
    let ready = admin.publish(&Sale::default()).await;
    let item = admin.create_item(5).await;
    let promo = admin.draft(item, &Sale { stock: 5, ..Sale::default() }).await;
    server.database().await.publish_promo(promo, panicbuy::clock::now()).await.unwrap();

    let (mut client, _) = Client::join(server.address, &token, ready).await;
    client.state(|state| state.phase == Phase::Admitted).await;
    let path = format!("/api/v1/promos/{promo}");
    let known = || async {
        let (status, _) = Shop::visitor(server.address).call(Method::GET, &path, None).await;
        status.is_success().then_some(())
    };
    eventually("the promo to be known", known).await;
    let (reason, retry_after_ms) = refusal(&mut client, promo).await;
    assert_eq!(reason, Reason::NotReady);
    assert!(retry_after_ms.is_some(), "it may work later");
    client.say(&ClientFrame::Join { promo_id: promo }).await;
    let (code, temporary) = client
        .find(|frame| match frame {
            ServerFrame::Error { code, temporary, .. } => Some((*code, *temporary)),
            _ => None,
        })
        .await;
    assert_eq!((code, temporary), (ErrorCode::Unavailable, true));

    let (_, welcome) = Client::hello(server.address, Some(&token)).await;
    assert_eq!(welcome.states[0].promo_id, ready, "the other promo is told as ever");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_database_shoppers_are_sent_away_for_a_while() {
    let server = Server::with(&["--cache-ms", "1"]).await;
    let token = enrol(&server, 1).await.remove(0);
    let database = server.database().await;
    sqlx::query("ALTER TABLE promos RENAME TO mislaid").execute(database.writer()).await.unwrap();
    let mut client = Client::connect(server.address).await;
    client.say(&ClientFrame::Hello { token: Some(token.clone()) }).await;
    let (ended, frames) = client.until_closed().await;
    assert_eq!(ended, Ended::Closed(close::GOING_AWAY.code));
    assert!(
        matches!(frames.last(), Some(ServerFrame::Bye { reason: ByeReason::Unavailable, .. })),
        "{frames:?}"
    );

    sqlx::query("ALTER TABLE mislaid RENAME TO promos").execute(database.writer()).await.unwrap();
    Client::hello(server.address, Some(&token)).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_orders_too_often_is_told_when_to_try_again() {
    let server = Server::with(&["--orders-per-user-per-s", "1"]).await;
    let admin = Shop::admin(server.address).await;
    let token = enrol(&server, 1).await.remove(0);
    let promo = admin.publish(&Sale::default()).await;
    let (mut client, _) = Client::hello(server.address, Some(&token)).await;
    assert_eq!(refusal(&mut client, promo).await.0, Reason::NoPass);
    let (reason, retry_after_ms) = refusal(&mut client, promo).await;
    assert_eq!(reason, Reason::RateLimited);
    assert!(retry_after_ms.is_some_and(|wait| wait <= 1000), "{retry_after_ms:?}");
    server.stop().await;
}
