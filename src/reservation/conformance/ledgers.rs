//! Opening, several pools, the relay's questions and epochs.

use super::{
    Engine, Fixture, ITEM_POOL, LIMIT, NOW, OTHER_ITEM_POOL, POSTED, PROMO, PROMO_POOL, earlier, gate, ids,
    opening, order, settings,
};
use crate::{
    admission::port::{JoinError, LogState},
    domain::{DrawKey, Epoch, OrderStatus, Phase, PoolId, Reason, RequestId, UserId, Verdict},
    random,
    reservation::port::{Closed, Closing, EngineError, Opening, Reserved, WithdrawError},
};

#[expect(clippy::needless_pass_by_value, reason = "an answer is looked at once")]
fn is_not_ready<T>(answer: Result<T, EngineError>, pool: PoolId) -> bool {
    matches!(answer, Err(EngineError::NotReady(named)) if named == pool)
}

async fn no_room(engine: &dyn Engine) {
    assert!(is_not_ready(engine.view(PROMO).await, PROMO_POOL));
    assert!(is_not_ready(engine.draw(PROMO, 0, 1).await, PROMO_POOL));
    assert!(is_not_ready(engine.seen(PROMO, &[UserId(1)], NOW).await, PROMO_POOL));
    assert!(is_not_ready(engine.configure(PROMO, settings().admission).await, PROMO_POOL));
}

pub async fn an_unknown_pool_is_not_ready(fixture: &mut Fixture) {
    let (engine, pool) = (fixture.engine.as_ref(), PROMO_POOL);
    let wish = order(1, pool);
    assert_eq!(engine.reserve(wish.clone()).await.unwrap(), Reserved::Refused(Reason::NotReady));
    assert!(is_not_ready(engine.snapshot(pool).await, pool));
    assert!(is_not_ready(engine.set_gate(pool, gate()).await, pool));
    assert!(is_not_ready(engine.settle(pool, &[(wish.order_id, POSTED)]).await, pool));
    assert!(is_not_ready(engine.close(pool, wish.order_id, Closing::Paid).await, pool));
    assert!(is_not_ready(engine.defer_answer(pool, wish.order_id).await, pool));
    assert!(is_not_ready(engine.deposit(pool, 1).await, pool));
    let withdrawn = engine.withdraw(pool, 1).await;
    assert!(matches!(withdrawn, Err(WithdrawError::Engine(EngineError::NotReady(_)))));
    let joined = engine.join(PROMO, UserId(1), DrawKey(1), NOW).await;
    assert!(matches!(joined, Err(JoinError::Engine(EngineError::NotReady(_)))));
    assert!(is_not_ready(engine.leave(PROMO, UserId(1)).await, pool));
    assert!(is_not_ready(engine.tick(PROMO, NOW, LogState::Ready).await, pool));
    assert!(is_not_ready(engine.standings(PROMO, &[UserId(1)]).await, pool));
    assert!(is_not_ready(engine.open_room(PROMO, settings()).await, pool));
    no_room(engine).await;
    assert!(engine.find(UserId(1), wish.request_id).await.unwrap().is_none());
    assert!(engine.pending(UserId(1), wish.order_id).await.unwrap().is_none());
    assert!(engine.pending_of(UserId(1)).await.unwrap().is_empty());
    assert!(engine.overdue(NOW, NOW, 10).await.unwrap().is_empty());
    assert_eq!(engine.lost(&[(pool, Epoch(1))]).await.unwrap(), [pool]);
}

pub async fn a_promo_sells_nothing_before_its_room_is_open(fixture: &mut Fixture) {
    fixture.open(PROMO_POOL, opening(5)).await;
    let engine = fixture.engine.as_ref();
    assert_eq!(
        engine.reserve(order(1, PROMO_POOL)).await.unwrap(),
        Reserved::Refused(Reason::NotReady),
        "nobody holds a pass, and nobody may buy without one"
    );
    assert_eq!(engine.join(PROMO, UserId(1), DrawKey(1), NOW).await.unwrap().phase, Phase::None);
    assert_eq!(engine.tick(PROMO, NOW, LogState::Ready).await.unwrap().changed, []);
    no_room(engine).await;
    assert_eq!(
        engine.lost(&[(PROMO_POOL, super::EPOCH)]).await.unwrap(),
        [PROMO_POOL],
        "half a promo is none"
    );

    engine.open_room(PROMO, settings()).await.unwrap();
    assert_eq!(engine.lost(&[(PROMO_POOL, super::EPOCH)]).await.unwrap(), []);
    let refused = engine.reserve(order(1, PROMO_POOL)).await.unwrap();
    assert_eq!(refused, Reserved::Refused(Reason::NoPass));
    assert_eq!(engine.view(PROMO).await.unwrap().available, 5);
}

pub async fn an_items_pool_has_neither_room_nor_limit(fixture: &mut Fixture) {
    fixture.item(ITEM_POOL, 3).await;
    for _ in 0..3 {
        fixture.hold(order(1, ITEM_POOL)).await;
    }
    let refused = fixture.engine.reserve(order(1, ITEM_POOL)).await.unwrap();
    assert_eq!(refused, Reserved::Refused(Reason::SoldOut));
    let units = fixture.engine.snapshot(ITEM_POOL).await.unwrap();
    assert_eq!((units.initial, units.available, units.pending, units.sold, units.holds), (3, 0, 3, 0, 0));
}

pub async fn what_was_sold_before_is_known_after_opening(fixture: &mut Fixture) {
    let [unpaid, paid, rejected] = [OrderStatus::AwaitingPayment, OrderStatus::Paid, OrderStatus::Rejected]
        .map(|status| earlier(1, status));
    let other = earlier(2, OrderStatus::AwaitingPayment);
    let orders = vec![unpaid.clone(), paid.clone(), rejected.clone(), other.clone()];
    fixture.open(PROMO_POOL, Opening { sold: 3, orders, ..opening(10) }).await;
    fixture.engine.open_room(PROMO, settings()).await.unwrap();
    let engine = fixture.engine.as_ref();

    let standings = engine.standings(PROMO, &[UserId(1), UserId(2), UserId(9)]).await.unwrap();
    assert_eq!(
        standings.iter().map(|standing| standing.phase).collect::<Vec<_>>(),
        [Phase::Rejected, Phase::Confirmed, Phase::None]
    );
    assert_eq!(standings[0].order_id, Some(rejected.order_id), "the latest order counts");
    let full = engine.join(PROMO, UserId(1), DrawKey(1), NOW).await.unwrap();
    assert_eq!(full.phase, Phase::Rejected, "who holds {LIMIT} live units gets no place");

    let repeat = engine.find(UserId(1), unpaid.request_id).await.unwrap().unwrap();
    assert_eq!((repeat.order_id, repeat.pool, repeat.unlogged), (unpaid.order_id, PROMO_POOL, None));
    assert_eq!(engine.close(PROMO_POOL, paid.order_id, Closing::Cancelled).await.unwrap(), Closed::Before);
    assert_eq!(engine.close(PROMO_POOL, unpaid.order_id, Closing::Expired).await.unwrap(), Closed::Now);
    assert_eq!(engine.close(PROMO_POOL, other.order_id, Closing::Paid).await.unwrap(), Closed::Now);
    let units = engine.snapshot(PROMO_POOL).await.unwrap();
    assert_eq!((units.initial, units.available, units.pending, units.sold), (10, 8, 0, 2));
    let again = engine.join(PROMO, UserId(1), DrawKey(1), NOW).await.unwrap();
    assert_eq!(again.phase, Phase::Queued, "a unit that came back makes room for another order");
}

pub async fn requests_are_recognised_across_pools(fixture: &mut Fixture) {
    fixture.item(ITEM_POOL, 3).await;
    fixture.item(OTHER_ITEM_POOL, 3).await;
    let held = fixture.hold(order(1, OTHER_ITEM_POOL)).await;
    let engine = fixture.engine.as_ref();

    let repeat = engine.find(UserId(1), held.request_id).await.unwrap().unwrap();
    assert_eq!((repeat.order_id, repeat.pool), (held.order_id, OTHER_ITEM_POOL));
    assert_eq!(repeat.unlogged.as_ref(), Some(&held), "it is to be logged again");
    assert!(engine.find(UserId(2), held.request_id).await.unwrap().is_none(), "requests are a shopper's own");
    assert!(engine.find(UserId(1), RequestId(random::uuid())).await.unwrap().is_none());

    let again = super::Reservation { order_id: random::order_id(), ..held.clone() };
    let repeated = Reserved::Repeated { order_id: held.order_id, unlogged: Some(held.clone()) };
    assert_eq!(engine.reserve(again).await.unwrap(), repeated);
    engine.settle(OTHER_ITEM_POOL, &[(held.order_id, POSTED)]).await.unwrap();
    let repeat = engine.find(UserId(1), held.request_id).await.unwrap().unwrap();
    assert_eq!(repeat.unlogged, None, "what is settled was in the log");
}

pub async fn reservations_are_found_across_pools_until_they_are_settled(fixture: &mut Fixture) {
    fixture.item(ITEM_POOL, 3).await;
    fixture.item(OTHER_ITEM_POOL, 3).await;
    let first = fixture.hold(order(1, OTHER_ITEM_POOL)).await;
    let second = fixture.hold(order(1, ITEM_POOL)).await;
    let other = fixture.hold(order(2, ITEM_POOL)).await;
    let engine = fixture.engine.as_ref();

    assert_eq!(engine.pending_of(UserId(1)).await.unwrap(), [first.clone(), second.clone()], "oldest first");
    assert_eq!(engine.pending(UserId(1), second.order_id).await.unwrap(), Some(second.clone()));
    assert_eq!(engine.pending(UserId(2), second.order_id).await.unwrap(), None, "another's order");
    engine.settle(OTHER_ITEM_POOL, &[(first.order_id, POSTED)]).await.unwrap();
    assert_eq!(engine.pending_of(UserId(1)).await.unwrap(), [second]);
    assert_eq!(engine.pending_of(UserId(2)).await.unwrap(), [other]);
    assert_eq!(engine.pending(UserId(1), first.order_id).await.unwrap(), None);
}

pub async fn the_relay_gets_what_is_overdue(fixture: &mut Fixture) {
    fixture.item(ITEM_POOL, 9).await;
    fixture.item(OTHER_ITEM_POOL, 9).await;
    let made =
        |pool, before_ms| super::Reservation { reserved_at: NOW.minus_millis(before_ms), ..order(1, pool) };
    let lost = fixture.hold(made(ITEM_POOL, 5_000)).await;
    let stuck = fixture.hold(made(OTHER_ITEM_POOL, 90_000)).await;
    let logged = fixture.hold(made(OTHER_ITEM_POOL, 5_000)).await;
    let fresh = fixture.hold(made(ITEM_POOL, 100)).await;
    let engine = fixture.engine.as_ref();
    engine.logged(OTHER_ITEM_POOL, &[stuck.order_id, logged.order_id]).await.unwrap();
    // A mark may take a moment: nobody waits for it.
    let unmarked = async |order| engine.find(UserId(1), order).await.unwrap().unwrap().unlogged.is_some();
    while unmarked(stuck.request_id).await || unmarked(logged.request_id).await {
        tokio::task::yield_now().await;
    }

    let overdue = engine.overdue(NOW.minus_millis(2_000), NOW.minus_millis(60_000), 10).await.unwrap();
    let mut found = ids(&overdue);
    found.sort_unstable();
    assert_eq!(found, [lost.order_id, stuck.order_id], "unlogged for long, or logged and never settled");
    assert_eq!(engine.overdue(NOW, NOW, 3).await.unwrap().len(), 3, "no more than asked for");
    engine.settle(ITEM_POOL, &[(lost.order_id, POSTED), (fresh.order_id, POSTED)]).await.unwrap();
    assert_eq!(ids(&engine.overdue(NOW, NOW, 10).await.unwrap()), [stuck.order_id, logged.order_id]);
}

pub async fn withdrawing_takes_only_what_nobody_holds(fixture: &mut Fixture) {
    fixture.item(ITEM_POOL, 3).await;
    let held = fixture.hold(order(1, ITEM_POOL)).await;
    let engine = fixture.engine.as_ref();
    let refused = engine.withdraw(ITEM_POOL, 3).await;
    assert!(matches!(refused, Err(WithdrawError::Insufficient(short)) if short.available == 2));
    engine.withdraw(ITEM_POOL, 2).await.unwrap();
    engine.deposit(ITEM_POOL, 4).await.unwrap();
    engine.settle(ITEM_POOL, &[(held.order_id, Verdict::Void { reason: Reason::SoldOut })]).await.unwrap();
    let units = engine.snapshot(ITEM_POOL).await.unwrap();
    assert_eq!((units.initial, units.available, units.pending, units.sold), (5, 5, 0, 0));
}

pub async fn an_earlier_epoch_does_not_replace_a_later_one(fixture: &mut Fixture) {
    let item =
        |epoch, stock| Opening { epoch: Epoch(epoch), gate: None, per_user_limit: None, ..opening(stock) };
    fixture.open(ITEM_POOL, item(5, 5)).await;
    let held = fixture.hold(order(1, ITEM_POOL)).await;
    assert_eq!(held.epoch, Epoch(5), "a reservation names the ledger that holds its units");
    fixture.engine.open(ITEM_POOL, item(4, 100)).await.unwrap();
    let engine = fixture.engine.as_ref();
    assert_eq!(engine.snapshot(ITEM_POOL).await.unwrap().initial, 5);
    assert_eq!(engine.pending_of(UserId(1)).await.unwrap(), [held]);

    assert_eq!(
        engine.lost(&[(ITEM_POOL, Epoch(5)), (OTHER_ITEM_POOL, Epoch(1))]).await.unwrap(),
        [OTHER_ITEM_POOL]
    );
    assert_eq!(engine.lost(&[(ITEM_POOL, Epoch(4))]).await.unwrap(), [], "a later one will do");
    assert_eq!(engine.lost(&[(ITEM_POOL, Epoch(6))]).await.unwrap(), [ITEM_POOL]);
    fixture.open(ITEM_POOL, item(6, 6)).await;
    let engine = fixture.engine.as_ref();
    assert_eq!(engine.lost(&[(ITEM_POOL, Epoch(6))]).await.unwrap(), []);
    assert_eq!(
        engine.snapshot(ITEM_POOL).await.unwrap().pending,
        0,
        "what the old ledger held is gone with it"
    );
    assert_eq!(engine.pending_of(UserId(1)).await.unwrap(), []);
}
