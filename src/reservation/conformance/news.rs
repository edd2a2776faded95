//! What each call tells.

use super::{Fixture, ITEM_POOL, NOW, POSTED, PROMO, PROMO_POOL, gate, order};
use crate::{
    admission::port::LogState,
    domain::{
        Gone, OrderStatus, Phase, PromoId, Reason, Standing, StandingReason, Timestamp, UserId, Verdict,
    },
    reservation::port::{Closed, Closing, Gate, Reservation},
    results::port::{Event, Outcome},
};

fn standing(user: UserId, phase: Phase) -> Standing {
    Standing { phase, ..Standing::none(user, PROMO) }
}

fn with_order(order: &Reservation, phase: Phase, status: OrderStatus) -> Event {
    Event::Standing(Standing {
        order_id: Some(order.order_id),
        status: Some(status),
        ..standing(order.user_id, phase)
    })
}

fn posted(order: &Reservation) -> Event {
    let Verdict::Posted { pay_before } = POSTED else { unreachable!("it is a posting") };
    Event::Outcome(Outcome {
        user_id: order.user_id,
        order_id: order.order_id,
        promo_id: order.pool.promo(),
        status: OrderStatus::AwaitingPayment,
        price: Some(order.price),
        pay_before: Some(pay_before),
        reason: None,
    })
}

/// Shows that nothing else was told: the next news is that of a pause.
async fn nothing_more(fixture: &mut Fixture, promo: PromoId) {
    fixture.engine.set_gate(PROMO_POOL, Gate { paused: true, ..gate() }).await.unwrap();
    assert_eq!(fixture.heard(1).await, [Event::RoomChanged(promo)]);
}

pub async fn a_held_order_is_told(fixture: &mut Fixture) {
    fixture.promo(5).await;
    fixture.admit(&[UserId(1)]).await;
    let held = fixture.hold(order(1, PROMO_POOL)).await;
    assert_eq!(fixture.heard(1).await, [with_order(&held, Phase::Pending, OrderStatus::Pending)]);
    fixture.engine.reserve(held).await.unwrap();
    fixture.engine.reserve(order(2, PROMO_POOL)).await.unwrap();
    nothing_more(fixture, PROMO).await;
}

pub async fn an_items_order_has_an_outcome_and_no_standing(fixture: &mut Fixture) {
    fixture.item(ITEM_POOL, 5).await;
    let held = fixture.hold(order(1, ITEM_POOL)).await;
    fixture.engine.settle(ITEM_POOL, &[(held.order_id, POSTED)]).await.unwrap();
    assert_eq!(fixture.heard(1).await, [posted(&held)]);
    fixture.engine.close(ITEM_POOL, held.order_id, Closing::Paid).await.unwrap();
    fixture.promo(1).await;
    nothing_more(fixture, PROMO).await;
}

pub async fn a_verdict_is_told_once(fixture: &mut Fixture) {
    fixture.promo(5).await;
    fixture.admit(&[UserId(1), UserId(2)]).await;
    let first = fixture.hold(order(1, PROMO_POOL)).await;
    let second = fixture.hold(order(2, PROMO_POOL)).await;
    fixture.heard(2).await;
    assert!(fixture.engine.defer_answer(PROMO_POOL, first.order_id).await.unwrap());
    let void = Verdict::Void { reason: Reason::LimitReached };
    let verdicts = [(first.order_id, POSTED), (second.order_id, void)];
    let settled = fixture.engine.settle(PROMO_POOL, &verdicts).await.unwrap();
    assert_eq!(settled.iter().map(|settled| settled.answer_deferred).collect::<Vec<_>>(), [true, false]);

    let Reservation { user_id, request_id, order_id, .. } = first;
    let why = StandingReason::Because(Reason::LimitReached);
    let rejected = Standing {
        order_id: Some(second.order_id),
        status: Some(OrderStatus::Rejected),
        reason: Some(why),
        ..standing(second.user_id, Phase::Rejected)
    };
    let void = Outcome {
        user_id: second.user_id,
        order_id: second.order_id,
        promo_id: Some(PROMO),
        status: OrderStatus::Rejected,
        price: None,
        pay_before: None,
        reason: Some(Reason::LimitReached),
    };
    assert_eq!(
        fixture.heard(5).await,
        [
            Event::Accepted { user_id, request_id, order_id },
            posted(&first),
            with_order(&first, Phase::Confirmed, OrderStatus::AwaitingPayment),
            Event::Outcome(void),
            Event::Standing(rejected),
        ],
        "accepted before the outcome"
    );
    assert_eq!(fixture.engine.settle(PROMO_POOL, &verdicts).await.unwrap(), []);
    assert!(!fixture.engine.defer_answer(PROMO_POOL, first.order_id).await.unwrap());
    nothing_more(fixture, PROMO).await;
}

pub async fn closing_an_order_is_told(fixture: &mut Fixture) {
    fixture.promo(5).await;
    fixture.admit(&[UserId(1)]).await;
    let held = fixture.hold(order(1, PROMO_POOL)).await;
    let close =
        async |fixture: &Fixture, how| fixture.engine.close(PROMO_POOL, held.order_id, how).await.unwrap();
    assert_eq!(close(fixture, Closing::Cancelled).await, Closed::NotSettled);
    fixture.engine.settle(PROMO_POOL, &[(held.order_id, POSTED)]).await.unwrap();
    fixture.heard(3).await;
    assert_eq!(close(fixture, Closing::Cancelled).await, Closed::Now);
    assert_eq!(fixture.heard(1).await, [with_order(&held, Phase::None, OrderStatus::Cancelled)]);
    assert_eq!(close(fixture, Closing::Paid).await, Closed::Before);
    nothing_more(fixture, PROMO).await;
}

pub async fn a_pause_is_told_and_other_gates_are_not(fixture: &mut Fixture) {
    fixture.promo(5).await;
    let longer = Gate { ends_at: NOW.plus_millis(90_000), ..gate() };
    fixture.engine.set_gate(PROMO_POOL, longer).await.unwrap();
    fixture.engine.set_gate(PROMO_POOL, Gate { paused: true, ..longer }).await.unwrap();
    fixture.engine.set_gate(PROMO_POOL, Gate { paused: true, ..longer }).await.unwrap();
    assert_eq!(fixture.heard(1).await, [Event::RoomChanged(PROMO)]);
    fixture.engine.set_gate(PROMO_POOL, longer).await.unwrap();
    assert_eq!(fixture.heard(1).await, [Event::RoomChanged(PROMO)]);
}

pub async fn ticks_tell_openings_passes_and_the_end(fixture: &mut Fixture) {
    fixture.promo(1).await;
    for user in [2, 1, 3] {
        fixture.engine.join(PROMO, UserId(user), crate::domain::DrawKey(1), NOW).await.unwrap();
    }
    let tick = async |fixture: &Fixture, at: Timestamp| {
        fixture.engine.tick(PROMO, at, LogState::Ready).await.unwrap()
    };
    assert!(tick(fixture, NOW).await.opened);
    assert_eq!(fixture.heard(1).await, [Event::RoomChanged(PROMO)]);

    let ticked = tick(fixture, NOW.plus_millis(100)).await;
    let pass = Standing {
        number: Some(1),
        ahead: Some(0),
        pass_expires_at: Some(NOW.plus_millis(5_100)),
        ..standing(UserId(2), Phase::Admitted)
    };
    assert_eq!(ticked.changed, std::slice::from_ref(&pass));
    assert_eq!(fixture.heard(1).await, [Event::Standing(pass)]);

    let ticked = tick(fixture, NOW.plus_millis(5_100)).await;
    let lapsed = Standing {
        reason: Some(StandingReason::Gone(Gone::PassExpired)),
        ..standing(UserId(2), Phase::None)
    };
    let next = Standing {
        number: Some(2),
        ahead: Some(0),
        pass_expires_at: Some(NOW.plus_millis(10_100)),
        ..standing(UserId(1), Phase::Admitted)
    };
    assert_eq!(ticked.changed, [next.clone(), lapsed.clone()]);
    assert_eq!(fixture.heard(2).await, [Event::Standing(next), Event::Standing(lapsed)]);

    let ended = |user| Standing {
        reason: Some(StandingReason::Because(Reason::Ended)),
        ..standing(UserId(user), Phase::None)
    };
    assert_eq!(tick(fixture, NOW.plus_millis(60_000)).await.changed, [ended(1), ended(3)]);
    assert_eq!(fixture.heard(2).await, [Event::Standing(ended(1)), Event::Standing(ended(3))]);
    assert_eq!(tick(fixture, NOW.plus_millis(60_001)).await.changed, []);
    nothing_more(fixture, PROMO).await;
}

pub async fn passes_that_end_later_for_the_logs_sake_are_told(fixture: &mut Fixture) {
    fixture.promo(2).await;
    fixture.admit(&[UserId(1)]).await;
    fixture.engine.join(PROMO, UserId(2), crate::domain::DrawKey(2), NOW).await.unwrap();
    let tick = async |fixture: &Fixture, ms: u64, log: LogState| {
        fixture.engine.tick(PROMO, NOW.plus_millis(ms), log).await.unwrap()
    };
    let ends = async |fixture: &Fixture| {
        let stands = fixture.engine.standings(PROMO, &[UserId(1)]).await.unwrap().remove(0);
        stands.pass_expires_at.expect("the pass is live")
    };
    let ended = ends(fixture).await;
    // A moment is not worth telling.
    tick(fixture, 900, LogState::Down).await;
    assert!(!tick(fixture, 900, LogState::Behind).await.passes_moved);
    // It is told now and then while it lasts, and when it is over.
    assert!(!tick(fixture, 4_000, LogState::Down).await.passes_moved);
    assert!(tick(fixture, 40_000, LogState::Down).await.passes_moved);
    assert_eq!(fixture.heard(1).await, [Event::RoomChanged(PROMO)]);
    assert!(!tick(fixture, 41_000, LogState::Down).await.passes_moved);
    let ticked = tick(fixture, 41_000, LogState::Behind).await;
    assert!(ticked.passes_moved && ticked.changed.is_empty(), "nobody is called: {ticked:?}");
    assert_eq!(fixture.heard(1).await, [Event::RoomChanged(PROMO)]);
    assert_eq!(ends(fixture).await, ended.plus_millis(41_000));

    fixture.engine.seen(PROMO, &[UserId(2)], NOW.plus_millis(41_000)).await.unwrap();
    let ticked = tick(fixture, 41_001, LogState::Ready).await;
    assert_eq!(ticked.changed.len(), 1, "the next is called");
    fixture.heard(1).await;
    nothing_more(fixture, PROMO).await;
}
