//! The SQL of closing posted orders: their status, their pools' units, and the news for the ledger.

use serde::Serialize;
use sqlx::{FromRow, SqliteConnection};

use crate::{
    domain::{Order, PoolId, Timestamp},
    reservation::port::Closing,
    store::{port::StoreError, sqlite::json},
};

/// A posted order that is being closed, in the form the statements read it.
#[derive(FromRow, Serialize)]
pub(super) struct Closed {
    order_id: String,
    pool_id: String,
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

fn pool_of(order: &Order) -> PoolId {
    order.promo_id.map_or(PoolId::Item(order.item_id), PoolId::Promo)
}

/// The posted orders whose window is over at `now`.
pub(super) async fn due(
    connection: &mut SqliteConnection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Closed>, StoreError> {
    let due = sqlx::query_as(include_str!("../sql/due_orders.sql"))
        .bind(now.as_millis())
        .bind(limit)
        .fetch_all(connection)
        .await?;
    Ok(due)
}

/// Closes orders that this transaction has seen awaiting payment. All but paid ones give their units back.
pub(super) async fn close(
    connection: &mut SqliteConnection,
    orders: &[Closed],
    how: Closing,
    paid_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    let orders = json(orders)?;
    let status = how.status().as_str();
    sqlx::query(include_str!("../sql/close_orders.sql"))
        .bind(&orders)
        .bind(status)
        .bind(paid_at.map(Timestamp::as_millis))
        .execute(&mut *connection)
        .await?;
    if how != Closing::Paid {
        sqlx::query(include_str!("../sql/return_units.sql")).bind(&orders).execute(&mut *connection).await?;
    }
    sqlx::query(include_str!("../sql/insert_closings.sql"))
        .bind(&orders)
        .bind(status)
        .execute(connection)
        .await?;
    Ok(())
}
