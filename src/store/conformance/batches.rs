//! Batches of reservations.

use std::slice;

use super::{
    LIMIT_REACHED, NOW, SOLD_OUT, Store, WINDOW, item, nobody, of_promo, posted, posted_order, promo,
    reservation, shopper, units,
};
use crate::{
    domain::{ItemId, OrderId, OrderStatus, PoolId, PromoId, Reason, UserId},
    reservation::port::Reservation,
    store::port::Written,
};

pub(crate) async fn posted_and_rejected_orders_are_kept(one: &dyn Store, two: &dyn Store) {
    let live = promo(one, 2).await;
    let (ann, bob) = (shopper(one).await, shopper(one).await);
    let batch = [of_promo(ann, &live, 2), of_promo(bob, &live, 1)];
    assert_eq!(one.write_batch(&batch, NOW.plus_millis(5)).await.unwrap().len(), 2);

    let order = two.order(ann, batch[0].order_id).await.unwrap().unwrap();
    assert_eq!((order.request_id, order.user_id), (batch[0].request_id, ann));
    assert_eq!((order.item_id, order.promo_id, order.quantity), (live.item_id, Some(live.id), 2));
    assert_eq!(
        (order.price, order.status, order.reason),
        (batch[0].price, OrderStatus::AwaitingPayment, None)
    );
    assert_eq!((order.created_at, order.pay_before), (NOW, Some(NOW.plus_millis(5 + WINDOW))));
    assert_eq!(order.paid_at, None);

    let rejected = two.order(bob, batch[1].order_id).await.unwrap().unwrap();
    assert_eq!((rejected.status, rejected.reason), (OrderStatus::Rejected, Some(Reason::SoldOut)));
    assert_eq!(rejected.pay_before, None);
    assert_eq!(units(two, PoolId::Promo(live.id)).await, (2, 2));
    assert_eq!(one.write_batch(&[], NOW).await.unwrap(), []);
}

pub(crate) async fn a_batch_delivered_again_gets_the_same_answers(one: &dyn Store, two: &dyn Store) {
    let live = promo(one, 3).await;
    let ann = shopper(one).await;
    let batch = [
        of_promo(ann, &live, 2),
        of_promo(ann, &live, 1),
        of_promo(shopper(one).await, &live, 2),
        of_promo(UserId(999), &live, 1),
    ];
    let answers = one.write_batch(&batch, NOW).await.unwrap();
    assert_eq!(answers[..3], [posted(), LIMIT_REACHED, SOLD_OUT]);
    assert_eq!(two.write_batch(&batch, NOW.plus_millis(999_999)).await.unwrap(), answers);
    // A part of it beside something new, as after a rebalance.
    let new = of_promo(shopper(one).await, &live, 1);
    let mixed = [batch[2].clone(), new, batch[0].clone()];
    assert_eq!(two.write_batch(&mixed, NOW).await.unwrap(), [SOLD_OUT, posted(), posted()]);
    assert_eq!(units(one, PoolId::Promo(live.id)).await, (3, 3));
}

pub(crate) async fn a_closed_order_keeps_its_verdict(one: &dyn Store, _: &dyn Store) {
    let live = promo(one, 3).await;
    let mut batch = Vec::new();
    for _ in 0..3 {
        batch.push(of_promo(shopper(one).await, &live, 1));
    }
    one.write_batch(&batch, NOW).await.unwrap();
    one.pay(batch[0].user_id, batch[0].order_id, NOW).await.unwrap();
    one.cancel(batch[1].user_id, batch[1].order_id).await.unwrap();
    assert_eq!(one.expire_due(NOW.plus_millis(WINDOW), 10).await.unwrap(), 1);
    assert_eq!(one.write_batch(&batch, NOW.plus_millis(1)).await.unwrap(), [posted(); 3]);
    assert_eq!(units(one, PoolId::Promo(live.id)).await, (3, 1));
}

pub(crate) async fn the_same_order_twice_in_a_batch_is_one_row(one: &dyn Store, _: &dyn Store) {
    let live = promo(one, 3).await;
    let order = of_promo(shopper(one).await, &live, 2);
    let batch = [order.clone(), order.clone()];
    assert_eq!(one.write_batch(&batch, NOW).await.unwrap(), [posted(); 2]);
    assert_eq!(one.orders(order.user_id, None, 10).await.unwrap().len(), 1);
    assert_eq!(units(one, PoolId::Promo(live.id)).await, (3, 2));
}

pub(crate) async fn another_order_under_the_same_request_is_impossible(one: &dyn Store, _: &dyn Store) {
    let live = promo(one, 9).await;
    let first = of_promo(shopper(one).await, &live, 1);
    let again = Reservation { order_id: crate::random::order_id(), ..first.clone() };
    let impossible = Written::Impossible("request_id already used by another order");
    let batch = [first.clone(), again.clone()];
    assert_eq!(one.write_batch(&batch, NOW).await.unwrap(), [posted(), impossible]);
    assert_eq!(one.write_batch(&[again], NOW).await.unwrap(), [impossible]);
    let other = Reservation { user_id: shopper(one).await, order_id: crate::random::order_id(), ..first };
    assert_eq!(one.write_batch(&[other], NOW).await.unwrap(), [posted()]);
    assert_eq!(units(one, PoolId::Promo(live.id)).await, (9, 2));
}

pub(crate) async fn what_can_never_become_a_row_is_impossible_and_stops_nobody(
    one: &dyn Store,
    _: &dyn Store,
) {
    let live = promo(one, 9).await;
    let ann = shopper(one).await;
    let batch = [
        of_promo(UserId(999), &live, 1),
        reservation(ann, PoolId::Promo(PromoId(999)), live.item_id, 1),
        reservation(ann, PoolId::Item(ItemId(999)), ItemId(999), 1),
        reservation(ann, PoolId::Promo(live.id), ItemId(999), 1),
        of_promo(ann, &live, 0),
        of_promo(ann, &live, 1),
    ];
    let answers = one.write_batch(&batch, NOW).await.unwrap();
    assert!(answers[..5].iter().all(|answer| matches!(answer, Written::Impossible(_))), "{answers:?}");
    assert_eq!(answers[5], posted());
    assert_eq!(one.order(ann, OrderId(nobody())).await.unwrap(), None);
}

pub(crate) async fn the_limit_counts_live_orders(one: &dyn Store, _: &dyn Store) {
    let live = promo(one, 99).await;
    let ann = shopper(one).await;
    let order = |quantity| of_promo(ann, &live, quantity);
    let (paid, cancelled) = (order(1), order(1));
    one.write_batch(&[paid.clone(), cancelled.clone()], NOW).await.unwrap();
    one.pay(ann, paid.order_id, NOW).await.unwrap();
    assert_eq!(one.write_batch(&[order(1)], NOW).await.unwrap(), [LIMIT_REACHED]);
    one.cancel(ann, cancelled.order_id).await.unwrap();
    let batch = [order(2), order(1), order(1)];
    assert_eq!(one.write_batch(&batch, NOW).await.unwrap(), [LIMIT_REACHED, posted(), LIMIT_REACHED]);

    let shelf = item(one, 9).await;
    let plain = || reservation(ann, PoolId::Item(shelf.id), shelf.id, 3);
    assert_eq!(one.write_batch(&[plain(), plain(), plain()], NOW).await.unwrap(), [posted(); 3]);
}

pub(crate) async fn two_writers_never_oversell(one: &dyn Store, two: &dyn Store) {
    const STOCK: usize = 30;
    let live = promo(one, u32::try_from(STOCK).unwrap()).await;
    let mut batches: Vec<Vec<Reservation>> = vec![Vec::new(); 12];
    for batch in &mut batches {
        for _ in 0..5 {
            batch.push(of_promo(shopper(one).await, &live, 1));
        }
    }
    let sell = async |store: &dyn Store, batches: &[Vec<Reservation>]| {
        let mut sold = 0;
        for batch in batches {
            let answers = store.write_batch(batch, NOW).await.unwrap();
            sold += answers.iter().filter(|answer| **answer == posted()).count();
        }
        sold
    };
    let (left, right) = batches.split_at(6);
    let (mine, theirs) = tokio::join!(sell(one, left), sell(two, right));
    assert_eq!(mine + theirs, STOCK);
    assert_eq!(units(one, PoolId::Promo(live.id)).await, (30, 30));
}

pub(crate) async fn two_writers_of_the_same_batch_sell_it_once(one: &dyn Store, two: &dyn Store) {
    let live = promo(one, 4).await;
    let mut batch = Vec::new();
    for _ in 0..8 {
        batch.push(of_promo(shopper(one).await, &live, 1));
    }
    let (mine, theirs) = tokio::join!(one.write_batch(&batch, NOW), two.write_batch(&batch, NOW));
    let mine = mine.unwrap();
    assert_eq!(mine, theirs.unwrap());
    assert_eq!(mine, [[posted(); 4], [SOLD_OUT; 4]].concat());
    assert_eq!(units(one, PoolId::Promo(live.id)).await, (4, 4));
}

pub(crate) async fn opening_orders_are_what_a_ledger_must_know(one: &dyn Store, _: &dyn Store) {
    let live = promo(one, 9).await;
    let pool = PoolId::Promo(live.id);
    let waiting = posted_order(one, &live, 1).await;
    let paid = posted_order(one, &live, 1).await;
    one.pay(paid.user_id, paid.id, NOW).await.unwrap();
    let late = Reservation { reserved_at: NOW.plus_millis(100), ..of_promo(shopper(one).await, &live, 9) };
    assert_eq!(one.write_batch(slice::from_ref(&late), NOW).await.unwrap(), [LIMIT_REACHED]);
    let ids = async |everything, since: u64| {
        let orders = one.opening_orders(pool, everything, NOW.plus_millis(since)).await.unwrap();
        orders.into_iter().map(|order| order.order_id).collect::<Vec<_>>()
    };
    assert_eq!(ids(true, 999).await, [waiting.id, paid.id, late.order_id]);
    assert_eq!(ids(false, 100).await, [waiting.id, late.order_id]);
    assert_eq!(ids(false, 101).await, [waiting.id]);

    let orders = one.opening_orders(pool, true, NOW).await.unwrap();
    assert_eq!((orders[1].status, orders[1].quantity), (OrderStatus::Paid, 1));
    assert_eq!((orders[2].reason, orders[2].created_at), (Some(Reason::LimitReached), late.reserved_at));
    assert_eq!((orders[2].request_id, orders[2].user_id), (late.request_id, late.user_id));
    assert!(one.opening_orders(PoolId::Item(live.item_id), true, NOW).await.unwrap().is_empty());
}
