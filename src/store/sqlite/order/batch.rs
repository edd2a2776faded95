//! The SQL of a batch: what must be known to decide it, and the writes it comes to.
//!
//! The write lock of the transaction stands for the row locks of the pools. Every list is bound as one JSON text, so
//! each statement is prepared once, whatever the size of the batch.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;

use crate::{
    domain::{PoolId, UserId},
    reservation::port::Reservation,
    store::{
        decide::{Known, NewOrder},
        lists::{json, order_rows, sales},
        port::StoreError,
        rows::{HeldRecord, ShelfRecord, WrittenRecord},
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

async fn read_pools(
    connection: &mut SqliteConnection,
    batch: &str,
    known: &mut Known,
) -> Result<(), StoreError> {
    let pools: Vec<ShelfRecord> =
        sqlx::query_as(include_str!("../sql/batch_pools.sql")).bind(batch).fetch_all(connection).await?;
    for record in pools {
        known.pools.extend(record.decode()?);
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

async fn read_held(
    connection: &mut SqliteConnection,
    batch: &str,
    known: &mut Known,
) -> Result<(), StoreError> {
    let held: Vec<HeldRecord> =
        sqlx::query_as(include_str!("../sql/batch_held.sql")).bind(batch).fetch_all(connection).await?;
    for record in held {
        let (whose, units) = record.decode()?;
        known.held.insert(whose, units);
    }
    Ok(())
}

/// Inserts the new orders in one statement.
pub(super) async fn insert_orders(
    connection: &mut SqliteConnection,
    orders: &[NewOrder<'_>],
) -> Result<(), StoreError> {
    if orders.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("../sql/insert_orders.sql"))
        .bind(order_rows(orders)?)
        .execute(connection)
        .await?;
    Ok(())
}

/// Deducts from each pool once.
pub(super) async fn sell_units(
    connection: &mut SqliteConnection,
    sold: &BTreeMap<PoolId, u32>,
) -> Result<(), StoreError> {
    if sold.is_empty() {
        return Ok(());
    }
    sqlx::query(include_str!("../sql/sell_units.sql")).bind(sales(sold)?).execute(connection).await?;
    Ok(())
}
