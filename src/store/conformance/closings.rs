//! Orders that are paid, cancelled or expire, and what the ledger is told of it.

use super::{NOW, Store, WINDOW, nobody, of_promo, posted, posted_order, promo, shopper, units};
use crate::{
    domain::{Order, OrderId, OrderStatus, PoolId, PromoId, PromoStage, Timestamp},
    reservation::port::Closing,
    store::port::CloseError,
};

fn refused_as(result: &Result<Order, CloseError>, status: OrderStatus) -> bool {
    matches!(result, Err(CloseError::WrongStatus(found)) if *found == status)
}

/// What the ledger is told, oldest first.
async fn news(store: &dyn Store) -> Vec<(OrderId, Closing)> {
    let entries = store.outbox(100).await.unwrap();
    entries.into_iter().map(|entry| (entry.order_id, entry.closing)).collect()
}

fn window_end() -> Timestamp {
    NOW.plus_millis(WINDOW)
}

pub(crate) async fn payment_inside_the_window_is_for_good(one: &dyn Store, two: &dyn Store) {
    let live = promo(one, 2).await;
    let order = posted_order(one, &live, 2).await;
    let at = NOW.plus_millis(WINDOW - 1);
    let paid = one.pay(order.user_id, order.id, at).await.unwrap();
    assert_eq!((paid.status, paid.paid_at), (OrderStatus::Paid, Some(at)));
    assert_eq!(two.order(order.user_id, order.id).await.unwrap(), Some(paid.clone()));
    assert_eq!(one.pay(order.user_id, order.id, window_end()).await.unwrap(), paid);
    assert!(refused_as(&one.cancel(order.user_id, order.id).await, OrderStatus::Paid));
    assert_eq!(one.expire_due(window_end(), 10).await.unwrap(), 0);
    assert_eq!(units(one, PoolId::Promo(live.id)).await, (2, 2));

    let entries = one.outbox(10).await.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!((entries[0].order_id, entries[0].pool), (order.id, PoolId::Promo(live.id)));
    assert_eq!((entries[0].user_id, entries[0].closing), (order.user_id, Closing::Paid));
}

pub(crate) async fn payment_after_the_window_fails_before_the_sweep_and_after(
    one: &dyn Store,
    _: &dyn Store,
) {
    let order = posted_order(one, &promo(one, 2).await, 1).await;
    let pay = || one.pay(order.user_id, order.id, window_end());
    assert!(refused_as(&pay().await, OrderStatus::Expired));
    assert_eq!(news(one).await, []);
    assert_eq!(one.expire_due(window_end(), 10).await.unwrap(), 1);
    assert!(refused_as(&pay().await, OrderStatus::Expired));
    // Even a clock that has been set back does not revive it.
    assert!(refused_as(&one.pay(order.user_id, order.id, NOW).await, OrderStatus::Expired));
    assert_eq!(news(one).await, [(order.id, Closing::Expired)]);
}

pub(crate) async fn cancelling_returns_the_units_once(one: &dyn Store, _: &dyn Store) {
    let live = promo(one, 2).await;
    let order = posted_order(one, &live, 2).await;
    let cancelled = one.cancel(order.user_id, order.id).await.unwrap();
    assert_eq!((cancelled.status, cancelled.paid_at), (OrderStatus::Cancelled, None));
    assert_eq!(one.cancel(order.user_id, order.id).await.unwrap(), cancelled);
    assert_eq!(one.order(order.user_id, order.id).await.unwrap(), Some(cancelled));
    assert!(refused_as(&one.pay(order.user_id, order.id, NOW).await, OrderStatus::Cancelled));
    assert_eq!(units(one, PoolId::Promo(live.id)).await, (2, 0));
    assert_eq!(news(one).await, [(order.id, Closing::Cancelled)]);

    let next = of_promo(shopper(one).await, &live, 2);
    assert_eq!(one.write_batch(&[next], NOW).await.unwrap(), [posted()]);
}

pub(crate) async fn expiry_takes_the_due_and_no_more_than_asked(one: &dyn Store, _: &dyn Store) {
    let (live, other) = (promo(one, 9).await, promo(one, 9).await);
    for promo in [&live, &other, &live] {
        posted_order(one, promo, 2).await;
    }
    let later = of_promo(shopper(one).await, &other, 1);
    one.write_batch(&[later], NOW.plus_millis(1)).await.unwrap();
    assert_eq!(one.expire_due(NOW.plus_millis(WINDOW - 1), 10).await.unwrap(), 0);
    assert_eq!(one.expire_due(window_end(), 2).await.unwrap(), 2);
    assert_eq!(one.expire_due(window_end(), 10).await.unwrap(), 1);
    assert_eq!(one.expire_due(window_end(), 10).await.unwrap(), 0);
    assert_eq!(units(one, PoolId::Promo(live.id)).await, (9, 0));
    assert_eq!(units(one, PoolId::Promo(other.id)).await, (9, 1));
    assert_eq!(news(one).await.len(), 3);
}

pub(crate) async fn an_order_is_closed_once_whoever_comes_first(one: &dyn Store, two: &dyn Store) {
    let live = promo(one, 8).await;
    for _ in 0..8 {
        let order = posted_order(one, &live, 1).await;
        let (paid, cancelled, expired) = tokio::join!(
            one.pay(order.user_id, order.id, NOW),
            two.cancel(order.user_id, order.id),
            one.expire_due(window_end(), 10),
        );
        let closings = [paid.is_ok(), cancelled.is_ok(), expired.unwrap() == 1];
        assert_eq!(closings.into_iter().filter(|closed| *closed).count(), 1, "{closings:?}");
    }
    let paid = news(one).await.into_iter().filter(|(_, closing)| *closing == Closing::Paid).count();
    assert_eq!(news(one).await.len(), 8);
    assert_eq!(units(one, PoolId::Promo(live.id)).await, (8, u32::try_from(paid).unwrap()));
}

pub(crate) async fn orders_are_their_shoppers_own_and_newest_first(one: &dyn Store, _: &dyn Store) {
    let live = promo(one, 9).await;
    let (ann, bob) = (shopper(one).await, shopper(one).await);
    let batch = [of_promo(ann, &live, 1), of_promo(ann, &live, 1), of_promo(ann, &live, 9)];
    one.write_batch(&batch, NOW).await.unwrap();
    let [first, second, third] = batch.each_ref().map(|reservation| reservation.order_id);
    let page = async |before| {
        let orders = one.orders(ann, before, 2).await.unwrap();
        orders.into_iter().map(|order| order.id).collect::<Vec<_>>()
    };
    assert_eq!(page(None).await, [third, second]);
    assert_eq!(page(Some(second)).await, [first]);
    assert_eq!(one.orders(bob, None, 9).await.unwrap(), []);

    assert_eq!(one.order(bob, first).await.unwrap(), None);
    assert!(matches!(one.pay(bob, first, NOW).await, Err(CloseError::NotFound)));
    assert!(matches!(one.cancel(bob, first).await, Err(CloseError::NotFound)));
    assert!(matches!(one.cancel(ann, OrderId(nobody())).await, Err(CloseError::NotFound)));
    assert!(refused_as(&one.pay(ann, third, NOW).await, OrderStatus::Rejected));
    assert_eq!(news(one).await, []);
    one.ping().await.unwrap();
}

pub(crate) async fn an_ended_promo_is_settled_once_nothing_is_unpaid(one: &dyn Store, two: &dyn Store) {
    let (sold, unsold, live) = (promo(one, 2).await, promo(one, 2).await, promo(one, 2).await);
    let (first, second) = (posted_order(one, &sold, 1).await, posted_order(one, &sold, 1).await);
    posted_order(one, &live, 1).await;
    for promo in [&sold, &unsold] {
        one.set_stage(promo.id, &[PromoStage::Published], PromoStage::Ended).await.unwrap();
    }
    let unsettled = async || -> Vec<PromoId> {
        two.unsettled_promos().await.unwrap().into_iter().map(|promo| promo.id).collect()
    };
    assert_eq!(unsettled().await, [sold.id]);
    assert!(two.has_unpaid(sold.id).await.unwrap() && !two.has_unpaid(unsold.id).await.unwrap());
    one.pay(first.user_id, first.id, NOW).await.unwrap();
    assert_eq!(unsettled().await, [sold.id]);
    one.cancel(second.user_id, second.id).await.unwrap();
    assert_eq!(unsettled().await, []);
    assert!(!two.has_unpaid(sold.id).await.unwrap());
}

pub(crate) async fn the_outbox_forgets_what_is_done(one: &dyn Store, _: &dyn Store) {
    let live = promo(one, 9).await;
    for _ in 0..3 {
        let order = posted_order(one, &live, 1).await;
        one.cancel(order.user_id, order.id).await.unwrap();
    }
    let entries = one.outbox(2).await.unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries[0].id < entries[1].id);
    let ids: Vec<i64> = entries.iter().map(|entry| entry.id).collect();
    for _ in 0..2 {
        one.outbox_done(&ids).await.unwrap();
        assert_eq!(one.outbox(10).await.unwrap().len(), 1);
    }
    one.outbox_done(&[]).await.unwrap();
}
