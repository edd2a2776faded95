//! The SQL of a batch: the locks of its pools, what must be known to decide it, and the writes it comes to.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sqlx::{MySql, MySqlConnection, QueryBuilder};

use crate::{
    domain::{OrderId, PoolId, Reason, RequestId, UserId},
    reservation::port::Reservation,
    store::{
        decide::{Known, NewOrder},
        lists::{OrderRow, json, sales},
        mysql::item::lock_pools,
        port::StoreError,
        rows::{HeldRecord, ShelfRecord, WrittenRecord},
    },
};

/// Locks the batch's pools, and reads everything its decision depends on. No other transaction changes any of it before
/// this one ends; only an order under a request of the batch's might appear in another pool, and then the insert fails
/// and the batch is made again.
pub(super) async fn lock_and_read(
    connection: &mut MySqlConnection,
    batch: &[Reservation],
) -> Result<Known, StoreError> {
    let pools: BTreeSet<PoolId> = batch.iter().map(|reservation| reservation.pool).collect();
    lock_pools(connection, &pools).await?;
    let mut known = Known::default();
    read_pools(connection, &pools, &mut known).await?;
    read_users(connection, batch, &mut known).await?;
    read_written(connection, batch, &mut known).await?;
    read_held(connection, batch, &mut known).await?;
    Ok(known)
}

async fn read_pools(
    connection: &mut MySqlConnection,
    pools: &BTreeSet<PoolId>,
    known: &mut Known,
) -> Result<(), StoreError> {
    let pools: Vec<ShelfRecord> = sqlx::query_as(include_str!("../sql/batch_pools.sql"))
        .bind(json(pools)?)
        .fetch_all(connection)
        .await?;
    for record in pools {
        known.pools.extend(record.decode()?);
    }
    Ok(())
}

async fn read_users(
    connection: &mut MySqlConnection,
    batch: &[Reservation],
    known: &mut Known,
) -> Result<(), StoreError> {
    let users: BTreeSet<UserId> = batch.iter().map(|reservation| reservation.user_id).collect();
    let users: Vec<i64> = sqlx::query_scalar(include_str!("../sql/batch_users.sql"))
        .bind(json(&users)?)
        .fetch_all(connection)
        .await?;
    known.users = users.into_iter().map(UserId).collect();
    Ok(())
}

/// A shopper's name for an order.
#[derive(Serialize)]
struct Request {
    user_id: UserId,
    request_id: RequestId,
}

async fn read_written(
    connection: &mut MySqlConnection,
    batch: &[Reservation],
    known: &mut Known,
) -> Result<(), StoreError> {
    let ids: Vec<OrderId> = batch.iter().map(|reservation| reservation.order_id).collect();
    let requests: Vec<Request> = batch
        .iter()
        .map(|&Reservation { user_id, request_id, .. }| Request { user_id, request_id })
        .collect();
    let written: Vec<WrittenRecord> = sqlx::query_as(include_str!("../sql/written_orders.sql"))
        .bind(json(&ids)?)
        .bind(json(&requests)?)
        .fetch_all(connection)
        .await?;
    for record in written {
        let (id, request, verdict) = record.decode()?;
        known.note(id, request, verdict);
    }
    Ok(())
}

/// A shopper at a pool. Ordered, to be in a list once: a shopper may be in the batch twice, their orders count once.
#[derive(PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Holder {
    pool_id: PoolId,
    user_id: UserId,
}

async fn read_held(
    connection: &mut MySqlConnection,
    batch: &[Reservation],
    known: &mut Known,
) -> Result<(), StoreError> {
    let limited = batch.iter().filter(|reservation| reservation.pool.promo().is_some());
    let holders: BTreeSet<Holder> =
        limited.map(|&Reservation { pool, user_id, .. }| Holder { pool_id: pool, user_id }).collect();
    if holders.is_empty() {
        return Ok(());
    }
    let held: Vec<HeldRecord> = sqlx::query_as(include_str!("../sql/batch_held.sql"))
        .bind(json(&holders)?)
        .fetch_all(connection)
        .await?;
    for record in held {
        let (whose, units) = record.decode()?;
        known.held.insert(whose, units);
    }
    Ok(())
}

/// Orders in one statement, at most; each has 12 of the 65,535 parameters.
const ROWS_MAX: usize = 1024;

/// Inserts the new orders in a few statements, each of a power of two of rows, so that there are few texts to prepare.
/// (As one JSON text, the same rows take the servers two to five times as long.)
pub(super) async fn insert_orders(
    connection: &mut MySqlConnection,
    orders: &[NewOrder<'_>],
) -> Result<(), StoreError> {
    let mut rest = orders;
    while !rest.is_empty() {
        let (rows, later) = rest.split_at(ROWS_MAX.min(1 << rest.len().ilog2()));
        insert_rows(rows).build().execute(&mut *connection).await?;
        rest = later;
    }
    Ok(())
}

fn insert_rows(orders: &[NewOrder<'_>]) -> QueryBuilder<MySql> {
    let mut insert = QueryBuilder::new(include_str!("../sql/insert_orders.sql"));
    insert.push_values(orders.iter().map(OrderRow::from), |mut values, row| {
        values
            .push_bind(row.id.to_string())
            .push_bind(row.request_id.to_string())
            .push_bind(row.user_id.0)
            .push_bind(row.item_id.0)
            .push_bind(row.promo_id.map(|id| id.0))
            .push_bind(row.pool_id.to_string())
            .push_bind(row.quantity)
            .push_bind(row.price_minor)
            .push_bind(row.status.as_str())
            .push_bind(row.reason.map(Reason::as_str))
            .push_bind(row.created_at)
            .push_bind(row.pay_before);
    });
    insert
}

/// Deducts from each pool once.
pub(super) async fn sell_units(
    connection: &mut MySqlConnection,
    sold: &BTreeMap<PoolId, u32>,
) -> Result<(), StoreError> {
    if sold.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("../sql/sell_units.sql")).bind(sales(sold)?).execute(connection).await?;
    Ok(())
}
