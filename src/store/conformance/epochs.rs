//! Epochs of pools, and leases.

use std::slice;

use super::{NOW, Store, of_promo, posted, posted_order, promo, shopper, units};
use crate::{
    domain::{Epoch, OrderStatus, PoolId, Promo, PromoId, Reason, Verdict},
    reservation::port::Reservation,
    store::port::Written,
};

const LOST: Written = Written::Verdict(Verdict::Void { reason: Reason::NotReady });

async fn next(store: &dyn Store, promo: &Promo, from: u64) -> Option<Epoch> {
    let begun = store.next_epoch(PoolId::Promo(promo.id), Epoch(from), true, NOW).await.unwrap();
    begun.map(|(row, _)| row.epoch)
}

pub(crate) async fn an_epoch_begins_once(one: &dyn Store, two: &dyn Store) {
    let live = promo(one, 5).await;
    let pool = PoolId::Promo(live.id);
    assert_eq!(one.pool(pool).await.unwrap().unwrap().epoch, Epoch(0));
    for from in 0..4 {
        let (mine, theirs) = tokio::join!(next(one, &live, from), next(two, &live, from));
        assert_eq!(mine.or(theirs), Some(Epoch(from + 1)));
        assert!(mine.is_none() || theirs.is_none());
        assert_eq!(two.pool(pool).await.unwrap().unwrap().epoch, Epoch(from + 1));
    }
    assert_eq!(next(one, &live, 9).await, None);
    assert_eq!(one.pool(PoolId::Item(live.item_id)).await.unwrap().unwrap().epoch, Epoch(0));
    assert!(one.next_epoch(PoolId::Promo(PromoId(999)), Epoch(0), true, NOW).await.unwrap().is_none());
    assert_eq!(units(one, pool).await, (5, 0));
    let epochs = one.pools().await.unwrap().into_iter().map(|row| row.epoch).collect::<Vec<_>>();
    assert_eq!(epochs, [Epoch(0), Epoch(4)]);
    assert_eq!(one.books(pool).await.unwrap().unwrap().row.epoch, Epoch(4));
}

pub(crate) async fn a_new_epoch_knows_what_is_written_and_voids_what_comes_late(
    one: &dyn Store,
    two: &dyn Store,
) {
    let live = promo(one, 2).await;
    let pool = PoolId::Promo(live.id);
    let before = posted_order(one, &live, 1).await;
    let late = of_promo(shopper(one).await, &live, 1);

    let (row, opening) = two.next_epoch(pool, Epoch(0), true, NOW).await.unwrap().unwrap();
    assert_eq!((row.pool, row.initial, row.sold, row.epoch), (pool, 2, 1, Epoch(1)));
    assert_eq!(opening.iter().map(|order| order.order_id).collect::<Vec<_>>(), [before.id]);

    assert_eq!(one.write_batch(slice::from_ref(&late), NOW).await.unwrap(), [LOST]);
    let rejected = one.order(late.user_id, late.order_id).await.unwrap().unwrap();
    assert_eq!((rejected.status, rejected.reason), (OrderStatus::Rejected, Some(Reason::NotReady)));
    assert_eq!(units(one, pool).await, (2, 1));

    let again = Reservation {
        order_id: before.id,
        request_id: before.request_id,
        ..of_promo(before.user_id, &live, 1)
    };
    let fresh = Reservation { epoch: Epoch(1), ..of_promo(late.user_id, &live, 1) };
    let batch = [again, late, fresh];
    assert_eq!(one.write_batch(&batch, NOW).await.unwrap(), [posted(), LOST, posted()]);
    assert_eq!(units(one, pool).await, (2, 2));

    let nothing = two.next_epoch(pool, Epoch(1), false, NOW.plus_millis(1)).await.unwrap().unwrap().1;
    assert!(nothing.iter().all(|order| order.status == OrderStatus::AwaitingPayment), "{nothing:?}");
}

pub(crate) async fn an_order_is_in_the_opening_or_void(one: &dyn Store, two: &dyn Store) {
    let live = promo(one, 99).await;
    let pool = PoolId::Promo(live.id);
    for round in 0..10 {
        let epoch = Epoch(round);
        let order = Reservation { epoch, ..of_promo(shopper(one).await, &live, 1) };
        let (written, begun) = tokio::join!(
            one.write_batch(slice::from_ref(&order), NOW),
            two.next_epoch(pool, epoch, true, NOW)
        );
        let (row, opening) = begun.unwrap().unwrap();
        let known = opening.iter().any(|opened| opened.order_id == order.order_id);
        assert_eq!(written.unwrap(), [if known { posted() } else { LOST }]);
        let live = opening.iter().filter(|order| order.status == OrderStatus::AwaitingPayment);
        assert_eq!(live.map(|order| order.quantity).sum::<u32>(), row.sold);
    }
}

pub(crate) async fn a_lease_is_one_holder_s_until_it_runs_out(one: &dyn Store, two: &dyn Store) {
    let (mine, theirs) =
        tokio::join!(one.lease("sweep", "one", NOW, 100), two.lease("sweep", "two", NOW, 100));
    let (mine, theirs) = (mine.unwrap(), theirs.unwrap());
    assert!(mine != theirs);
    let (winner, loser) = if mine { ("one", "two") } else { ("two", "one") };
    let lease = async |holder, at: u64| one.lease("sweep", holder, NOW.plus_millis(at), 100).await.unwrap();
    assert!(!lease(loser, 99).await);
    assert!(lease(winner, 50).await);
    assert!(lease(winner, 50).await);
    assert!(!lease(loser, 149).await);
    assert!(lease(loser, 150).await);
    assert!(!lease(winner, 150).await);
    assert!(two.lease("tick", winner, NOW, 1).await.unwrap());
}
