//! What a well-behaved socket may rely on: places, tabs, visitors, errors, goodbyes.

use panicbuy::{
    domain::{Phase, PromoId, PromoStatus},
    gateway::protocol::{ByeReason, ClientFrame, ErrorCode, ServerFrame},
};
use serde_json::json;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

use crate::support::{
    Server,
    client::{Client, Ended},
    shop::{Sale, Shop, enrol},
};

async fn error(client: &mut Client) -> (ErrorCode, bool, Option<String>) {
    client
        .find(|frame| match frame {
            ServerFrame::Error { code, temporary, reference, .. } => {
                Some((*code, *temporary, reference.clone()))
            }
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_survives_tabs_and_reconnects() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let tokens = enrol(&server, 3).await;
    // Nobody is called: the rate allows one pass per second, and there is one unit, which the first takes.
    let promo = admin.publish(&Sale { stock: 1, rate_per_s: 1, ..Sale::default() }).await;
    let (mut first, _) = Client::join(server.address, &tokens[0], promo).await;
    first.state(|state| state.phase == Phase::Admitted).await;
    let (_second, second_state) = Client::join(server.address, &tokens[1], promo).await;
    let (third, third_state) = Client::join(server.address, &tokens[2], promo).await;
    assert_eq!((second_state.number, third_state.number), (Some(2), Some(3)));
    assert_eq!(third_state.ahead, Some(1));

    let (tab, tab_state) = Client::join(server.address, &tokens[2], promo).await;
    assert_eq!(tab_state.number, Some(3), "a second tab has the same place");
    drop((third, tab));
    let (_, welcome) = Client::hello(server.address, Some(&tokens[2])).await;
    assert_eq!(welcome.states.len(), 1);
    assert_eq!((welcome.states[0].phase, welcome.states[0].number), (Phase::Queued, Some(3)));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_socket_of_a_shopper_hears_the_same() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let tokens = enrol(&server, 1).await;
    let promo = admin.publish(&Sale::default()).await;
    let (mut watching, _) = Client::hello(server.address, Some(&tokens[0])).await;
    let (mut buying, _) = Client::join(server.address, &tokens[0], promo).await;
    buying.state(|state| state.phase == Phase::Admitted).await;
    watching.state(|state| state.phase == Phase::Admitted).await;
    let request = buying.order(promo).await;
    let order = buying.accepted(request).await;
    buying.outcome(order).await;
    watching.state(|state| state.phase == Phase::Pending).await;
    watching.outcome(order).await;
    watching.state(|state| state.phase == Phase::Confirmed).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_gives_the_place_up() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let tokens = enrol(&server, 2).await;
    let promo = admin.publish(&Sale { opens_in_ms: 600_000, ..Sale::default() }).await;
    let (mut client, joined) = Client::join(server.address, &tokens[0], promo).await;
    assert_eq!(joined.phase, Phase::Lobby);
    client.say(&ClientFrame::Leave { promo_id: promo }).await;
    client.state(|state| state.phase == Phase::None).await;
    let queue = client.find(|frame| match frame {
        ServerFrame::Queue(queue) if queue.lobby == 0 => Some(queue.clone()),
        _ => None,
    });
    assert_eq!(queue.await.status, PromoStatus::Scheduled);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_not_used_lapses_and_says_so() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let tokens = enrol(&server, 1).await;
    let promo = admin.publish(&Sale { pass_ttl_ms: 1000, ..Sale::default() }).await;
    let (mut client, _) = Client::join(server.address, &tokens[0], promo).await;
    client.state(|state| state.phase == Phase::Admitted).await;
    let lapsed = client.state(|state| state.phase == Phase::None).await;
    let reason = serde_json::to_value(lapsed.reason.unwrap()).unwrap();
    assert_eq!(reason, "pass_expired");
    client.forget();
    client.say(&ClientFrame::Join { promo_id: promo }).await;
    let again = client.state(|state| state.number.is_some()).await;
    assert_eq!(again.number, Some(2), "the old number is not used again");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn time_ends_a_promo_and_the_unsold_units_go_home() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let tokens = enrol(&server, 2).await;
    let item = admin.create_item(10).await;
    let promo = admin.draft(item, &Sale { stock: 7, lasts_ms: 2000, max_active: 1, ..Sale::default() }).await;
    admin.post(&format!("/api/v1/promos/{promo}/publish"), json!({})).await;
    let (mut buyer, _) = Client::join(server.address, &tokens[0], promo).await;
    buyer.state(|state| state.phase == Phase::Admitted).await;
    let (mut waiting, _) = Client::join(server.address, &tokens[1], promo).await;
    let sent_home = waiting.state(|state| state.phase == Phase::None).await;
    assert_eq!(serde_json::to_value(sent_home.reason).unwrap(), "ended");
    waiting
        .find(|frame| {
            matches!(frame, ServerFrame::Queue(queue) if queue.status == PromoStatus::Ended).then_some(())
        })
        .await;
    let home = || async {
        let item = admin.get(&format!("/api/v1/items/{item}")).await;
        (item["stock"] == 10 && item["available"] == 10).then_some(())
    };
    crate::support::eventually("the units to go home", home).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_promo_holds_the_door_and_the_passes() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let tokens = enrol(&server, 1).await;
    let promo = admin.publish(&Sale { pass_ttl_ms: 1500, ..Sale::default() }).await;
    let (mut client, _) = Client::join(server.address, &tokens[0], promo).await;
    let admitted = client.state(|state| state.phase == Phase::Admitted).await;
    admin.post(&format!("/api/v1/promos/{promo}/pause"), json!({})).await;
    client
        .find(|frame| {
            matches!(frame, ServerFrame::Queue(queue) if queue.status == PromoStatus::Paused).then_some(())
        })
        .await;
    // Longer than the pass would live.
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    client.forget();
    admin.post(&format!("/api/v1/promos/{promo}/resume"), json!({})).await;
    let resumed = client.state(|state| state.phase == Phase::Admitted).await;
    assert!(resumed.pass_expires_at > admitted.pass_expires_at, "the pass was not used up by the pause");
    let request = client.order(promo).await;
    client.accepted(request).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_may_only_watch() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let promo = admin.publish(&Sale::default()).await;
    let (mut visitor, welcome) = Client::hello(server.address, None).await;
    assert_eq!((welcome.user_id, welcome.states.len()), (None, 0));
    visitor.say(&ClientFrame::Watch { promo_id: promo }).await;
    visitor.find(|frame| matches!(frame, ServerFrame::Queue(_)).then_some(())).await;
    visitor.find(|frame| matches!(frame, ServerFrame::Stock(_)).then_some(())).await;
    visitor.say(&ClientFrame::Join { promo_id: promo }).await;
    assert_eq!(error(&mut visitor).await, (ErrorCode::NotAuthenticated, false, Some("join".to_owned())));
    visitor.order(promo).await;
    assert_eq!(error(&mut visitor).await.0, ErrorCode::NotAuthenticated);
    visitor.say(&ClientFrame::Ping { nonce: json!("n") }).await;
    let pong = visitor.find(|frame| match frame {
        ServerFrame::Pong { nonce } => Some(nonce.clone()),
        _ => None,
    });
    assert_eq!(pong.await, "n");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_unwatches_hears_no_more_broadcasts() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let tokens = enrol(&server, 1).await;
    let promo = admin.publish(&Sale::default()).await;
    let (mut visitor, _) = Client::hello(server.address, None).await;
    visitor.say(&ClientFrame::Watch { promo_id: promo }).await;
    visitor.find(|frame| matches!(frame, ServerFrame::Stock(_)).then_some(())).await;
    visitor.say(&ClientFrame::Unwatch { promo_id: promo }).await;
    visitor.say(&ClientFrame::Ping { nonce: json!(1) }).await;
    visitor.find(|frame| matches!(frame, ServerFrame::Pong { .. }).then_some(())).await;
    visitor.forget();
    let (mut buyer, _) = Client::join(server.address, &tokens[0], promo).await;
    buyer.find(|frame| matches!(frame, ServerFrame::Queue(queue) if queue.head == 1).then_some(())).await;
    visitor.say(&ClientFrame::Ping { nonce: json!(2) }).await;
    assert!(matches!(visitor.next().await, Ok(ServerFrame::Pong { .. })), "nothing but the pong");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_makes_no_sense_is_an_error_and_does_nothing() {
    let server = Server::with(&["--max-watched-promos", "1", "--max-places", "1"]).await;
    let admin = Shop::admin(server.address).await;
    let tokens = enrol(&server, 2).await;
    let promo = admin.publish(&Sale { opens_in_ms: 600_000, ..Sale::default() }).await;
    let other = admin.publish(&Sale { opens_in_ms: 600_000, ..Sale::default() }).await;
    let (mut client, _) = Client::join(server.address, &tokens[0], promo).await;

    client.say_text(r#"{"type":"dance"}"#).await;
    assert_eq!(error(&mut client).await, (ErrorCode::UnknownType, false, Some("dance".to_owned())));
    client.say_text(r#"{"type":"join","promo_id":"one"}"#).await;
    assert_eq!(error(&mut client).await, (ErrorCode::BadRequest, false, Some("join".to_owned())));
    client.say(&ClientFrame::Hello { token: None }).await;
    assert_eq!(error(&mut client).await.0, ErrorCode::BadRequest);
    client.say(&ClientFrame::Watch { promo_id: other }).await;
    assert_eq!(error(&mut client).await.0, ErrorCode::TooManyWatched);
    let request = panicbuy::random::uuid();
    client
        .say_text(
            &json!({ "type": "order", "request_id": request, "promo_id": promo, "quantity": -1 }).to_string(),
        )
        .await;
    assert!(matches!(
        client.answer(panicbuy::domain::RequestId(request)).await,
        ServerFrame::Refused { reason: panicbuy::domain::Reason::BadRequest, .. }
    ));

    let (mut late, _) = Client::hello(server.address, Some(&tokens[1])).await;
    late.say(&ClientFrame::Join { promo_id: PromoId(999) }).await;
    assert_eq!(error(&mut late).await, (ErrorCode::NotFound, false, Some("join".to_owned())));
    late.say(&ClientFrame::Join { promo_id: promo }).await;
    assert_eq!(error(&mut late).await, (ErrorCode::RoomFull, true, Some("join".to_owned())));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shutdown_says_goodbye_with_different_delays() {
    let server = Server::with(&["--reconnect-spread-ms", "60000"]).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(Client::hello(server.address, None).await.0);
    }
    let stopping = server.begin_stop();
    let mut delays = Vec::new();
    for mut client in clients {
        let (ended, frames) = client.until_closed().await;
        assert_eq!(ended, Ended::Closed(1001));
        match frames.last() {
            Some(ServerFrame::Bye { reason: ByeReason::GoingAway, reconnect_after_ms }) => {
                assert!(*reconnect_after_ms < 60_000);
                delays.push(*reconnect_after_ms);
            }
            other => panic!("expected bye, got {other:?}"),
        }
    }
    delays.sort_unstable();
    delays.dedup();
    assert!(delays.len() > 1, "everybody would come back at once");
    stopping.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_closes_is_answered() {
    let server = Server::start().await;
    let (mut client, _) = Client::hello(server.address, None).await;
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    client.socket.close(Some(normal)).await.unwrap();
    let (ended, _) = client.until_closed().await;
    assert_eq!(ended, Ended::Closed(1000), "the closing handshake is completed");
    server.stop().await;
}
