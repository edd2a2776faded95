//! Lists as one parameter: JSON text that the statements read as rows, so that a statement is the same for every length
//! of its list and is prepared once. The same for every engine.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::FromRow;

use super::{decide::NewOrder, port::StoreError};
use crate::domain::{
    ItemId, Order, OrderId, OrderStatus, PoolId, PromoId, Reason, RequestId, UserId, Verdict,
};

/// The list as its parameter.
pub(super) fn json<T: Serialize + ?Sized>(list: &T) -> Result<String, StoreError> {
    serde_json::to_string(list).map_err(|error| StoreError(sqlx::Error::Encode(Box::new(error))))
}

/// New orders, as rows of `orders`.
pub(super) fn order_rows(orders: &[NewOrder<'_>]) -> Result<String, StoreError> {
    json(&orders.iter().map(OrderRow::from).collect::<Vec<_>>())
}

/// What each pool sells, each pool once.
pub(super) fn sales(sold: &BTreeMap<PoolId, u32>) -> Result<String, StoreError> {
    let sales = sold.iter().map(|(pool, units)| Sale { pool_id: pool.to_string(), units: i64::from(*units) });
    json(&sales.collect::<Vec<_>>())
}

/// What closed orders give back to their pools, as sales of less than nothing, each pool once.
pub(super) fn returns(orders: &[Closed]) -> Result<String, StoreError> {
    let mut units: BTreeMap<&str, i64> = BTreeMap::new();
    for order in orders {
        *units.entry(&order.pool_id).or_default() -= order.quantity;
    }
    json(&units.into_iter().map(|(pool, units)| Sale { pool_id: pool.to_owned(), units }).collect::<Vec<_>>())
}

/// A posted order that is being closed, in the form the statements read it.
#[derive(FromRow, Serialize)]
pub(super) struct Closed {
    pub order_id: String,
    pub pool_id: String,
    user_id: i64,
    quantity: i64,
}

impl Closed {
    pub(super) fn of(order: &Order) -> Self {
        Self {
            order_id: order.id.to_string(),
            pool_id: pool_of(order).to_string(),
            user_id: order.user_id.0,
            quantity: i64::from(order.quantity),
        }
    }
}

/// The pool that the order's units are from.
pub(super) fn pool_of(order: &Order) -> PoolId {
    order.promo_id.map_or(PoolId::Item(order.item_id), PoolId::Promo)
}

/// A row of `orders`, named like its columns.
#[derive(Serialize)]
pub(super) struct OrderRow {
    pub id: OrderId,
    pub request_id: RequestId,
    pub user_id: UserId,
    pub item_id: ItemId,
    pub promo_id: Option<PromoId>,
    pub pool_id: PoolId,
    pub quantity: u32,
    pub price_minor: i64,
    pub status: OrderStatus,
    pub reason: Option<Reason>,
    pub created_at: i64,
    pub pay_before: Option<i64>,
}

impl From<&NewOrder<'_>> for OrderRow {
    fn from(order: &NewOrder<'_>) -> Self {
        let (pay_before, reason) = match order.verdict {
            Verdict::Posted { pay_before } => (Some(pay_before.as_millis()), None),
            Verdict::Void { reason } => (None, Some(reason)),
        };
        let reservation = order.reservation;
        Self {
            id: reservation.order_id,
            request_id: reservation.request_id,
            user_id: reservation.user_id,
            item_id: reservation.item_id,
            promo_id: reservation.pool.promo(),
            pool_id: reservation.pool,
            quantity: reservation.quantity,
            price_minor: reservation.price.0,
            status: order.status(),
            reason,
            // The shopper ordered when the units were reserved, however long the log took.
            created_at: reservation.reserved_at.as_millis(),
            pay_before,
        }
    }
}

#[derive(Serialize)]
struct Sale {
    pool_id: String,
    units: i64,
}
