//! What Redis may lose, and what may happen twice.

use std::sync::Arc;

use fred::interfaces::{ClientLike, KeysInterface, LuaInterface};

use super::{
    super::{
        call::{NO_TIME, word},
        scripts,
    },
    KnownEpochs, NOW, POOL, PROMO, clear, engine, engine_with, gate, opening, order, settings, shared,
};
use crate::{
    admission::port::{LogState, WaitingRooms},
    domain::{DrawKey, Epoch, OrderStatus, Phase, PoolId, Reason, RequestId, Standing, UserId},
    random,
    redis::{
        Redis,
        testing::{self, OwnRedis, quick},
    },
    reservation::port::{EngineError, Gate, Opening, OpeningOrder, Reservations, Reserved},
    results::{
        port::{Event, Heard, Results},
        redis::{RedisResults, RedisResultsSettings},
    },
};

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_taught_again() {
    let server = OwnRedis::start(&[]);
    let redis = Redis::connect(&quick(server.url())).await.unwrap();
    let engine = engine(&redis);
    engine.open(POOL, opening(1, 5)).await.unwrap();
    for _ in 0..3 {
        let () = redis.commands().next_connected().script_flush(false).await.unwrap();
        engine.deposit(POOL, 1).await.unwrap();
    }
    assert_eq!(engine.snapshot(POOL).await.unwrap().available, 8, "each call counted once");
}

#[tokio::test]
async fn a_server_that_forgot_everything_is_noticed() {
    let server = OwnRedis::start(&[]);
    let redis = Redis::connect(&quick(server.url())).await.unwrap();
    let engine = engine(&redis);
    engine.open(POOL, opening(1, 5)).await.unwrap();
    engine.open_room(PROMO, settings()).await.unwrap();
    assert_eq!(engine.lost(&[(POOL, Epoch(1))]).await.unwrap(), []);
    let bell = engine.lost_bell();
    let () = redis.commands().next_connected().flushall(false).await.unwrap();

    assert_eq!(engine.reserve(order(1)).await.unwrap(), Reserved::Refused(Reason::NotReady));
    assert!(matches!(engine.snapshot(POOL).await, Err(EngineError::NotReady(_))));
    assert!(matches!(engine.tick(PROMO, NOW, LogState::Ready).await, Err(EngineError::NotReady(_))));
    assert_eq!(engine.lost(&[(POOL, Epoch(1))]).await.unwrap(), [POOL]);
    tokio::time::timeout(std::time::Duration::from_secs(5), bell.notified()).await.expect("the bell rang");
    engine.open(POOL, opening(2, 5)).await.unwrap();
    assert_eq!(engine.snapshot(POOL).await.unwrap().available, 5);
}

/// A sale in which 1 bought, 2 to 4 hold passes, and 5 and 6 wait.
async fn sale(engine: &super::RedisEngine) {
    engine.open(POOL, opening(1, 4)).await.unwrap();
    engine.open_room_at(PROMO, settings(), NOW).await.unwrap();
    engine.tick(PROMO, NOW.minus_millis(1_000), LogState::Ready).await.unwrap();
    for user in 1..=6 {
        engine.join(PROMO, UserId(user), DrawKey(0), NOW).await.unwrap();
    }
    assert_eq!(
        engine.tick(PROMO, NOW, LogState::Ready).await.unwrap().changed.len(),
        4,
        "as many as there are units"
    );
    assert!(matches!(engine.reserve(order(1)).await.unwrap(), Reserved::Held(_)));
}

async fn standing(engine: &super::RedisEngine, user: i64) -> Standing {
    engine.standings(PROMO, &[UserId(user)]).await.unwrap().remove(0)
}

#[tokio::test]
async fn a_server_that_is_back_from_an_older_file_is_not_trusted() {
    let mut server = OwnRedis::start(&[]);
    let redis = Redis::connect(&quick(server.url())).await.unwrap();
    let engine = engine(&redis);
    sale(&engine).await;
    let head = engine.view(PROMO).await.unwrap().head;
    save(&server);
    // After the file was written shopper 2 orders: the file does not know it.
    assert!(matches!(engine.reserve(order(2)).await.unwrap(), Reserved::Held(_)));
    server.kill();
    server.start_again();
    testing::until(
        "Redis answers again",
        async || matches!(engine.lost(&[(POOL, Epoch(1))]).await, Ok(lost) if lost == [POOL]),
    )
    .await;
    let there: u64 = redis.commands().exists(redis.key(POOL, "ledger")).await.unwrap();
    assert_eq!(there, 1, "the file had the ledger, under the same epoch");
    assert_eq!(engine.reserve(order(3)).await.unwrap(), Reserved::Refused(Reason::NotReady));

    // Both orders were in the log, so the database has them. One more unit is gone in another way.
    let posted = |user| OpeningOrder {
        order_id: random::order_id(),
        request_id: RequestId(random::uuid()),
        user_id: UserId(user),
        quantity: 1,
        status: OrderStatus::AwaitingPayment,
        reason: None,
        created_at: NOW,
    };
    let known = Opening { sold: 3, orders: vec![posted(1), posted(2)], ..opening(2, 4) };
    engine.open(POOL, known).await.unwrap();
    assert_eq!(
        engine.reserve(order(3)).await.unwrap(),
        Reserved::Refused(Reason::NotReady),
        "not before its room"
    );
    engine.open_room_at(PROMO, settings(), NOW.plus_millis(30_000)).await.unwrap();

    let view = engine.view(PROMO).await.unwrap();
    assert_eq!((view.head, view.active, view.available), (head, 1, 1), "no more passes than units");
    assert_eq!(standing(&engine, 2).await.phase, Phase::Confirmed, "who ordered since has no place");
    let [third, fourth, fifth] = [3, 4, 5].map(|user| standing(&engine, user));
    let (third, fourth, fifth) = tokio::join!(third, fourth, fifth);
    assert_eq!((third.phase, third.number), (Phase::Admitted, Some(3)));
    assert_eq!((fourth.phase, fourth.number, fourth.ahead), (Phase::Queued, Some(4), Some(0)));
    assert_eq!((fifth.phase, fifth.number, fifth.ahead), (Phase::Queued, Some(5), Some(0)));
    assert_eq!(third.pass_expires_at, Some(NOW.plus_millis(630_000)), "room time stood still");
}

/// Makes the server write its file.
fn save(server: &OwnRedis) {
    let status = std::process::Command::new("redis-cli")
        .args(["-p", &server.port().to_string(), "SAVE"])
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn a_call_of_an_earlier_epoch_is_refused_and_heals_when_the_source_knows() {
    let redis = shared().await;
    let epochs = Arc::new(KnownEpochs::default());
    epochs.set(POOL, Epoch(1));
    let (one, two) = (engine(&redis), engine_with(&redis, Arc::clone(&epochs)));
    one.open(POOL, opening(1, 5)).await.unwrap();
    assert_eq!(two.snapshot(POOL).await.unwrap().available, 5);
    one.open(POOL, opening(2, 7)).await.unwrap();
    testing::until("the source is asked, and has the earlier epoch still", async || {
        matches!(two.snapshot(POOL).await, Err(EngineError::NotReady(_)))
    })
    .await;
    epochs.set(POOL, Epoch(2));
    testing::until("the source's epoch is used", async || {
        two.snapshot(POOL).await.is_ok_and(|units| units.available == 7)
    })
    .await;
    clear(&redis).await;
}

/// So many shoppers with a posted order each.
fn crowded(epoch: u64, shoppers: u32) -> Opening {
    let order = |user| OpeningOrder {
        order_id: random::order_id(),
        request_id: RequestId(random::uuid()),
        user_id: UserId(i64::from(user)),
        quantity: 1,
        status: OrderStatus::AwaitingPayment,
        reason: None,
        created_at: NOW,
    };
    let orders = (1..=shoppers).map(order).collect();
    Opening { sold: shoppers, per_user_limit: Some(2), orders, ..opening(epoch, 2 * shoppers) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_build_at_once_build_one_ledger() {
    const SHOPPERS: u32 = 1_200;
    let redis = shared().await;
    let (one, two) = (engine(&redis), engine(&redis));
    for epoch in 1..=5 {
        let opening = crowded(epoch, SHOPPERS);
        let built = tokio::join!(one.open(POOL, opening.clone()), two.open(POOL, opening.clone()));
        assert!(built.0.is_ok() || built.1.is_ok(), "{built:?}");
        one.open(POOL, opening).await.unwrap();
        one.open_room_at(PROMO, settings(), NOW).await.unwrap();
        for user in [1, 500, 501, i64::from(SHOPPERS)] {
            let standing = one.join(PROMO, UserId(user), DrawKey(0), NOW).await.unwrap();
            assert_eq!(
                standing.phase,
                Phase::Queued,
                "an order that counts twice would leave no room for another"
            );
            one.leave(PROMO, UserId(user)).await.unwrap();
        }
    }
    // The later epoch wins, whoever comes first.
    let built = tokio::join!(one.open(POOL, crowded(8, 600)), two.open(POOL, crowded(9, 700)));
    assert!(built.1.is_ok(), "{built:?}");
    assert_eq!(two.snapshot(POOL).await.unwrap().sold, 700);
    clear(&redis).await;
}

#[tokio::test]
async fn stock_that_is_moved_again_after_a_lost_answer_moves_once() {
    let redis = shared().await;
    let engine = engine(&redis);
    engine.open(POOL, opening(1, 5)).await.unwrap();
    for (script, expected) in [(&scripts::DEPOSIT, 8), (&scripts::WITHDRAW, 5)] {
        let operation = random::uuid();
        for _ in 0..3 {
            let words = |_| vec![word(operation), word(3)];
            assert!(engine.caller.call(script, POOL, NO_TIME, words).await.unwrap().is("ok"));
        }
        assert_eq!(engine.snapshot(POOL).await.unwrap().available, expected);
    }
    clear(&redis).await;
}

#[tokio::test]
async fn an_order_whose_answer_was_lost_is_held_once() {
    let redis = shared().await;
    let engine = engine(&redis);
    sale(&engine).await;
    let order = order(2);
    let first = engine.reserve(order.clone()).await.unwrap();
    assert_eq!(engine.reserve(order).await.unwrap(), first, "the very same call gets the very same answer");
    assert_eq!(engine.snapshot(POOL).await.unwrap().pending, 2);
    clear(&redis).await;
}

#[tokio::test]
async fn joins_are_told_to_the_other_nodes() {
    let settings_of_both = quick(&panicbuy_test_servers::shared().redis_url);
    let (here, there) =
        (Redis::connect(&settings_of_both).await.unwrap(), Redis::connect(&settings_of_both).await.unwrap());
    let hear =
        async |redis: &Redis| RedisResults::connect(redis, RedisResultsSettings::default()).await.unwrap();
    let (near_bus, far_bus) = (hear(&here).await, hear(&there).await);
    let (mut near_news, mut far_news) = (near_bus.subscribe(), far_bus.subscribe());
    let engine = engine(&here);
    engine.open(POOL, opening(1, 1)).await.unwrap();
    engine.open_room_at(PROMO, settings(), NOW).await.unwrap();
    let joined = engine.join(PROMO, UserId(1), DrawKey(0), NOW).await.unwrap();
    engine.join(PROMO, UserId(1), DrawKey(0), NOW).await.unwrap();
    let left = engine.leave(PROMO, UserId(1)).await.unwrap();
    engine.leave(PROMO, UserId(1)).await.unwrap();
    engine.set_gate(POOL, Gate { paused: true, ..gate() }).await.unwrap();

    let mut expected = vec![
        Event::RoomRebuilt(PROMO),
        Event::Standing(joined),
        Event::Standing(left),
        Event::RoomChanged(PROMO),
    ];
    assert_eq!(next(far_news.as_mut(), 4).await, expected);
    expected.drain(1..3);
    assert_eq!(next(near_news.as_mut(), 2).await, expected, "whoever did it has told its sockets already");
    clear(&here).await;
}

async fn next(news: &mut dyn crate::results::port::Subscription, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while events.len() < count {
        match tokio::time::timeout(std::time::Duration::from_secs(20), news.next()).await {
            Ok(Heard::Events(more)) => events.extend(more.iter().cloned()),
            other => panic!("{other:?} after {events:?}"),
        }
    }
    events
}

#[tokio::test]
async fn quiet_pools_are_not_looked_at_any_more() {
    let redis = shared().await;
    let engine = engine(&redis);
    let item = PoolId::Item(crate::domain::ItemId(1));
    engine.open(item, Opening { gate: None, per_user_limit: None, ..opening(1, 5) }).await.unwrap();
    let order = super::Reservation { pool: item, ..order(1) };
    assert!(matches!(engine.reserve(order.clone()).await.unwrap(), Reserved::Held(_)));
    let later = NOW.plus_millis(600_000);
    assert_eq!(engine.overdue(later, later, 10).await.unwrap().len(), 1);
    assert_eq!(engine.index.busy().await.unwrap().len(), 1, "it holds a reservation");
    engine
        .settle(item, &[(order.order_id, crate::domain::Verdict::Void { reason: Reason::SoldOut })])
        .await
        .unwrap();
    assert_eq!(engine.overdue(NOW, NOW, 10).await.unwrap(), []);
    assert_eq!(engine.index.busy().await.unwrap().len(), 1, "it was busy a moment ago");
    assert_eq!(engine.overdue(later, later, 10).await.unwrap(), []);
    assert_eq!(engine.index.busy().await.unwrap(), []);
    clear(&redis).await;
}
