//! The SQL of a batch: what must be known to decide it, and the writes it comes to.
//!
//! The write lock of the transaction stands for the row locks of the pools. Every list is bound as one JSON text, so
//! each statement is prepared once, whatever the size of the batch.

use std::collections::BTreeMap;

use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};

use crate::{
    domain::{ItemId, OrderId, OrderStatus, PoolId, PromoId, Reason, RequestId, UserId, Verdict},
    reservation::port::Reservation,
    store::{
        decide::{Known, NewOrder, Shelf},
        port::StoreError,
        rows::{WrittenRecord, narrow, parsed},
        sqlite::json,
    },
};

/// Reads everything the batch's decision depends on, the pools first.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    batch: &[Reservation],
) -> Result<Known, StoreError> {
    let batch = json(batch)?;
    let mut known = Known::default();
    read_pools(connection, &batch, &mut known).await?;
    read_users(connection, &batch, &mut known).await?;
    read_written(connection, &batch, &mut known).await?;
    read_held(connection, &batch, &mut known).await?;
    Ok(known)
}

#[derive(FromRow)]
struct ShelfRecord {
    id: String,
    initial: i64,
    sold: i64,
    promo_item: Option<i64>,
    per_user_limit: Option<i64>,
}

async fn read_pools(
    connection: &mut SqliteConnection,
    batch: &str,
    known: &mut Known,
) -> Result<(), StoreError> {
    let pools: Vec<ShelfRecord> =
        sqlx::query_as(include_str!("../sql/batch_pools.sql")).bind(batch).fetch_all(connection).await?;
    for record in pools {
        let pool = parsed("pools.id", &record.id)?;
        let item = match (pool, record.promo_item) {
            (PoolId::Item(item), _) => item,
            (PoolId::Promo(_), Some(item)) => ItemId(item),
            // A pool without its promo holds nobody's units; its reservations meet an unknown pool.
            (PoolId::Promo(_), None) => continue,
        };
        let unsold = narrow("pools.sold", record.initial - record.sold)?;
        let limit = record.per_user_limit.map(|limit| narrow("promos.per_user_limit", limit));
        known.pools.insert(pool, Shelf { item, unsold, per_user_limit: limit.transpose()? });
    }
    Ok(())
}

async fn read_users(
    connection: &mut SqliteConnection,
    batch: &str,
    known: &mut Known,
) -> Result<(), StoreError> {
    let users: Vec<i64> =
        sqlx::query_scalar(include_str!("../sql/batch_users.sql")).bind(batch).fetch_all(connection).await?;
    known.users = users.into_iter().map(UserId).collect();
    Ok(())
}

async fn read_written(
    connection: &mut SqliteConnection,
    batch: &str,
    known: &mut Known,
) -> Result<(), StoreError> {
    let written: Vec<WrittenRecord> =
        sqlx::query_as(include_str!("../sql/written_orders.sql")).bind(batch).fetch_all(connection).await?;
    for record in written {
        let (id, request, verdict) = record.decode()?;
        known.note(id, request, verdict);
    }
    Ok(())
}

#[derive(FromRow)]
struct HeldRecord {
    pool_id: String,
    user_id: i64,
    units: i64,
}

async fn read_held(
    connection: &mut SqliteConnection,
    batch: &str,
    known: &mut Known,
) -> Result<(), StoreError> {
    let held: Vec<HeldRecord> =
        sqlx::query_as(include_str!("../sql/batch_held.sql")).bind(batch).fetch_all(connection).await?;
    for record in held {
        let key = (parsed("orders.pool_id", &record.pool_id)?, UserId(record.user_id));
        known.held.insert(key, narrow("orders.quantity", record.units)?);
    }
    Ok(())
}

/// A row of `orders`, named like its columns.
#[derive(Serialize)]
struct OrderRow {
    id: OrderId,
    request_id: RequestId,
    user_id: UserId,
    item_id: ItemId,
    promo_id: Option<PromoId>,
    pool_id: PoolId,
    quantity: u32,
    price_minor: i64,
    status: OrderStatus,
    reason: Option<Reason>,
    created_at: i64,
    pay_before: Option<i64>,
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

/// Inserts the new orders in one statement.
pub(super) async fn insert_orders(
    connection: &mut SqliteConnection,
    orders: &[NewOrder<'_>],
) -> Result<(), StoreError> {
    if orders.is_empty() {
        return Ok(());
    }
    let rows: Vec<OrderRow> = orders.iter().map(OrderRow::from).collect();
    sqlx::query(include_str!("../sql/insert_orders.sql")).bind(json(&rows)?).execute(connection).await?;
    Ok(())
}

#[derive(Serialize)]
struct Sale {
    pool_id: PoolId,
    units: u32,
}

/// Deducts from each pool once.
pub(super) async fn sell_units(
    connection: &mut SqliteConnection,
    sold: &BTreeMap<PoolId, u32>,
) -> Result<(), StoreError> {
    if sold.is_empty() {
        return Ok(());
    }
    let sales: Vec<Sale> =
        sold.iter().map(|(pool_id, units)| Sale { pool_id: *pool_id, units: *units }).collect();
    sqlx::query(include_str!("../sql/sell_units.sql")).bind(json(&sales)?).execute(connection).await?;
    Ok(())
}
