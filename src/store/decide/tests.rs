//! The decision alone: examples, and histories of batches against a database of three maps.

use proptest::{collection::vec, prelude::*, sample::select};
use uuid::Uuid;

use super::*;
use crate::domain::{Epoch, Price, PromoId};

const NOW: Timestamp = Timestamp::from_millis(1_000);
const WINDOW: u64 = 60_000;
const PROMO: PoolId = PoolId::Promo(PromoId(1));
const ITEM: PoolId = PoolId::Item(ItemId(1));
const POSTED: Written = Written::Verdict(Verdict::Posted { pay_before: Timestamp::from_millis(61_000) });
const LIMIT_REACHED: Written = Written::Verdict(Verdict::Void { reason: Reason::LimitReached });
const SOLD_OUT: Written = Written::Verdict(Verdict::Void { reason: Reason::SoldOut });

fn reservation(order: u128, user: i64, pool: PoolId, quantity: u32) -> Reservation {
    Reservation {
        order_id: OrderId(Uuid::from_u128(order)),
        request_id: RequestId(Uuid::from_u128(order)),
        user_id: UserId(user),
        pool,
        item_id: ItemId(1),
        quantity,
        price: Price(100),
        payment_window_ms: WINDOW,
        reserved_at: NOW,
        epoch: Epoch(1),
    }
}

/// Users 1 to 3, one item, and a promo of it.
fn known(unsold: u32, per_user_limit: u32) -> Known {
    let shelf = |per_user_limit| Shelf { item: ItemId(1), unsold, per_user_limit, epoch: Epoch(1) };
    Known {
        pools: HashMap::from([(ITEM, shelf(None)), (PROMO, shelf(Some(per_user_limit)))]),
        users: (1..=3).map(UserId).collect(),
        ..Known::default()
    }
}

#[test]
fn the_last_unit_goes_to_the_first_of_the_batch() {
    let batch = [reservation(1, 1, PROMO, 1), reservation(2, 2, PROMO, 1)];
    let plan = decide(&batch, known(1, 1), NOW);
    assert_eq!(plan.answers, [POSTED, SOLD_OUT]);
    assert_eq!(plan.sold, BTreeMap::from([(PROMO, 1)]));
    let statuses: Vec<_> = plan.orders.iter().map(NewOrder::status).collect();
    assert_eq!(statuses, [OrderStatus::AwaitingPayment, OrderStatus::Rejected]);
}

#[test]
fn a_large_order_that_does_not_fit_leaves_the_units_to_a_smaller_one() {
    let batch = [reservation(1, 1, ITEM, 3), reservation(2, 2, ITEM, 2)];
    assert_eq!(decide(&batch, known(2, 1), NOW).answers, [SOLD_OUT, POSTED]);
}

#[test]
fn the_limit_counts_live_orders_of_the_table_and_of_the_batch() {
    let mut known = known(9, 3);
    known.held.insert((PROMO, UserId(1)), 2);
    let batch = [reservation(1, 1, PROMO, 1), reservation(2, 1, PROMO, 1), reservation(3, 2, PROMO, 3)];
    assert_eq!(decide(&batch, known, NOW).answers, [POSTED, LIMIT_REACHED, POSTED]);
}

#[test]
fn an_item_s_own_pool_has_no_limit() {
    let batch = [reservation(1, 1, ITEM, 4), reservation(2, 1, ITEM, 4)];
    assert_eq!(decide(&batch, known(8, 1), NOW).answers, [POSTED, POSTED]);
}

#[test]
fn an_order_that_is_there_keeps_its_verdict_and_takes_nothing() {
    let before = Verdict::Posted { pay_before: Timestamp::from_millis(7) };
    let mut known = known(5, 5);
    let twice = reservation(1, 1, PROMO, 1);
    known.note(twice.order_id, (twice.user_id, twice.request_id), before);
    let batch = [twice.clone(), twice];
    let plan = decide(&batch, known, NOW);
    assert_eq!(plan.answers, [Written::Verdict(before); 2]);
    assert!(plan.orders.is_empty() && plan.sold.is_empty());
}

#[test]
fn an_order_of_a_lost_ledger_is_void_unless_it_is_there_already() {
    let old = |order, user| Reservation { epoch: Epoch(0), ..reservation(order, user, PROMO, 1) };
    let batch = [old(1, 1), old(2, 2), reservation(3, 3, PROMO, 1)];
    let mut known = known(2, 1);
    let before = Verdict::Posted { pay_before: Timestamp::from_millis(7) };
    known.note(batch[0].order_id, (UserId(1), batch[0].request_id), before);
    let plan = decide(&batch, known, NOW);
    let void = Written::Verdict(Verdict::Void { reason: Reason::NotReady });
    assert_eq!(plan.answers, [Written::Verdict(before), void, POSTED]);
    assert_eq!((plan.orders.len(), plan.sold[&PROMO]), (2, 1));
}

#[test]
fn the_same_order_twice_in_a_batch_is_one_row() {
    let batch = [reservation(1, 1, PROMO, 1), reservation(1, 1, PROMO, 1)];
    let plan = decide(&batch, known(5, 1), NOW);
    assert_eq!(plan.answers, [POSTED, POSTED]);
    assert_eq!((plan.orders.len(), plan.sold[&PROMO]), (1, 1));
}

#[test]
fn another_order_under_the_same_request_id_is_impossible() {
    let first = reservation(1, 1, PROMO, 1);
    let second = Reservation { request_id: first.request_id, ..reservation(2, 1, PROMO, 1) };
    let other_user = Reservation { request_id: first.request_id, ..reservation(3, 2, PROMO, 1) };
    let why = Written::Impossible("request_id already used by another order");
    let batch = [first, second, other_user];
    assert_eq!(decide(&batch, known(5, 5), NOW).answers, [POSTED, why, POSTED]);
}

#[test]
fn what_can_never_become_a_row_is_impossible_and_stops_nobody() {
    let batch = [
        reservation(1, 9, PROMO, 1),
        reservation(2, 1, PoolId::Promo(PromoId(9)), 1),
        Reservation { item_id: ItemId(9), ..reservation(3, 1, PROMO, 1) },
        reservation(4, 1, PROMO, 0),
        reservation(5, 1, PROMO, 1),
    ];
    let plan = decide(&batch, known(5, 5), NOW);
    let impossible = plan.answers.iter().filter(|answer| matches!(answer, Written::Impossible(_)));
    assert_eq!((impossible.count(), plan.answers[4], plan.orders.len()), (4, POSTED, 1));
}

/// The tables, as far as a batch touches them. Applies plans the way an engine does.
#[derive(Default)]
struct Tables {
    orders: HashMap<OrderId, (Reservation, Verdict)>,
    sold: BTreeMap<PoolId, u32>,
}

impl Tables {
    fn known(&self, stock: u32, limit: u32) -> Known {
        let mut known = known(stock, limit);
        for (reservation, verdict) in self.orders.values() {
            let Reservation { order_id, user_id, request_id, pool, quantity, .. } = *reservation;
            known.note(order_id, (user_id, request_id), *verdict);
            if matches!(verdict, Verdict::Posted { .. }) {
                *known.held.entry((pool, user_id)).or_default() += u64::from(quantity);
            }
        }
        for (pool, sold) in &self.sold {
            known.pools.get_mut(pool).unwrap().unsold -= sold;
        }
        known
    }

    fn apply(&mut self, plan: &Plan<'_>) {
        for order in &plan.orders {
            let row = (order.reservation.clone(), order.verdict);
            let replaced = self.orders.insert(order.reservation.order_id, row);
            assert!(replaced.is_none(), "an order was inserted twice");
        }
        for (pool, units) in &plan.sold {
            *self.sold.entry(*pool).or_default() += units;
        }
    }

    fn posted(&self, pool: PoolId) -> impl Iterator<Item = &Reservation> {
        let rows = self.orders.values().filter(|(_, verdict)| matches!(verdict, Verdict::Posted { .. }));
        rows.map(|(reservation, _)| reservation).filter(move |reservation| reservation.pool == pool)
    }
}

/// A dozen orders of few shoppers with few request ids, so that clashes are common.
fn any_orders() -> impl Strategy<Value = Vec<Reservation>> {
    let choice = (1..=3_i64, select(vec![ITEM, PROMO]), 1..=3_u32, 0..8_u128);
    vec(choice, 12).prop_map(|choices| {
        let numbered = choices.into_iter().zip(1..);
        let order = |((user, pool, quantity, request), number)| Reservation {
            request_id: RequestId(Uuid::from_u128(request)),
            ..reservation(number, user, pool, quantity)
        };
        numbered.map(order).collect()
    })
}

proptest! {
    #[test]
    fn no_history_oversells_or_exceeds_a_limit_and_repetition_changes_nothing(
        orders in any_orders(), batches in vec(vec(0..12_usize, 0..8), 1..8), stock in 0..8_u32, limit in 1..4_u32,
    ) {
        let mut tables = Tables::default();
        let mut verdicts: HashMap<OrderId, Written> = HashMap::new();
        for (picked, later) in batches.iter().zip(0..) {
            let batch: Vec<_> = picked.iter().map(|index| orders[*index].clone()).collect();
            let plan = decide(&batch, tables.known(stock, limit), NOW.plus_millis(later));
            prop_assert_eq!(plan.answers.len(), batch.len());
            for (reservation, answer) in batch.iter().zip(&plan.answers) {
                if let Written::Verdict(_) = answer {
                    let first = verdicts.entry(reservation.order_id).or_insert(*answer);
                    prop_assert_eq!(first, answer);
                }
            }
            tables.apply(&plan);
            let again = decide(&batch, tables.known(stock, limit), NOW.plus_millis(later + 500));
            prop_assert_eq!(&again.answers, &plan.answers);
            prop_assert!(again.orders.is_empty() && again.sold.is_empty());
        }
        for pool in [ITEM, PROMO] {
            let units: u32 = tables.posted(pool).map(|reservation| reservation.quantity).sum();
            prop_assert!(units <= stock);
            prop_assert_eq!(units, tables.sold.get(&pool).copied().unwrap_or(0));
        }
        for user in (1..=3).map(UserId) {
            let mine = tables.posted(PROMO).filter(|reservation| reservation.user_id == user);
            prop_assert!(mine.map(|reservation| reservation.quantity).sum::<u32>() <= limit);
        }
    }
}
