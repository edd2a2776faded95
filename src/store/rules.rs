//! The rules for stages, stock and closings, without SQL.

use super::port::{CloseError, MAX_STOCK, PoolRow, StageError, StockError};
use crate::{
    domain::{Epoch, Order, OrderStatus, Promo, PromoStage, Timestamp},
    reservation::port::Closing,
};

/// What is left to do to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It was done before.
    Done,
    Close(Closing),
}

/// Whether `order` may be paid at `now`. Its window counts, not whether the sweep has come by.
pub(super) fn pay(order: &Order, now: Timestamp) -> Result<Step, CloseError> {
    match order.status {
        OrderStatus::Paid => Ok(Step::Done),
        OrderStatus::AwaitingPayment if order.pay_before.is_some_and(|end| end > now) => {
            Ok(Step::Close(Closing::Paid))
        }
        OrderStatus::AwaitingPayment => Err(CloseError::WrongStatus(OrderStatus::Expired)),
        other => Err(CloseError::WrongStatus(other)),
    }
}

/// Whether `order` may be cancelled.
pub(super) fn cancel(order: &Order) -> Result<Step, CloseError> {
    match order.status {
        OrderStatus::Cancelled => Ok(Step::Done),
        OrderStatus::AwaitingPayment => Ok(Step::Close(Closing::Cancelled)),
        other => Err(CloseError::WrongStatus(other)),
    }
}

/// Whether `promo` may be published at `now`, as far as the promo itself says.
pub(super) fn publishable(promo: &Promo, now: Timestamp) -> Result<(), StageError> {
    match promo.stage {
        PromoStage::Draft if promo.ends_at > now => Ok(()),
        PromoStage::Draft => Err(StageError::WrongStage(PromoStage::Ended)),
        other => Err(StageError::WrongStage(other)),
    }
}

/// The initial units of `pool` after adding `delta`.
///
/// Taking away is possible above [`MAX_STOCK`] too, where units returned by a promo may have lifted the pool.
pub(super) fn restocked(pool: &PoolRow, delta: i32) -> Result<u32, StockError> {
    let initial = i64::from(pool.initial) + i64::from(delta);
    let too_many = delta > 0 && initial > i64::from(MAX_STOCK);
    if initial < i64::from(pool.sold) || too_many {
        return Err(StockError::OutOfRange);
    }
    u32::try_from(initial).map_err(|_| StockError::OutOfRange)
}

/// How many of `units` may go from a promo's `pool` back to its item's: those that nobody has bought.
pub(super) fn returnable(pool: &PoolRow, items: &PoolRow, units: u32) -> u32 {
    let room = u32::MAX - items.initial;
    units.min(unsold(pool)).min(room)
}

/// `pool` in the epoch after `from`; `None` if it is not at `from`.
pub(super) fn succeeding(pool: PoolRow, from: Epoch) -> Option<PoolRow> {
    let epoch = Epoch(from.0.checked_add(1)?);
    (pool.epoch == from).then_some(PoolRow { epoch, ..pool })
}

/// Units of `pool` that nobody has bought.
pub(super) fn unsold(pool: &PoolRow) -> u32 {
    pool.initial.saturating_sub(pool.sold)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, ItemId, PoolId};

    fn pool(initial: u32, sold: u32) -> PoolRow {
        PoolRow { pool: PoolId::Item(ItemId(1)), initial, sold, epoch: Epoch::default() }
    }

    #[test]
    fn a_pool_above_the_maximum_may_shrink_but_not_grow() {
        let full = pool(MAX_STOCK + 10, 0);
        assert_eq!(restocked(&full, -1).unwrap(), MAX_STOCK + 9);
        assert!(matches!(restocked(&full, 1), Err(StockError::OutOfRange)));
    }

    #[test]
    fn an_epoch_is_followed_once() {
        let next = succeeding(pool(5, 2), Epoch(0)).unwrap();
        assert_eq!(next, PoolRow { epoch: Epoch(1), ..pool(5, 2) });
        assert_eq!(succeeding(next, Epoch(0)), None);
        assert_eq!(succeeding(PoolRow { epoch: Epoch(u64::MAX), ..next }, Epoch(u64::MAX)), None);
    }

    #[test]
    fn units_return_as_far_as_they_are_unsold_and_fit() {
        assert_eq!(returnable(&pool(5, 2), &pool(0, 0), 9), 3);
        assert_eq!(returnable(&pool(5, 2), &pool(0, 0), 1), 1);
        assert_eq!(returnable(&pool(5, 2), &pool(u32::MAX - 1, 0), 9), 1);
    }
}
