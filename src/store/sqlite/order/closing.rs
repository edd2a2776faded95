//! The SQL of closing posted orders: their status, their pools' units, and the news for the ledger.

use sqlx::SqliteConnection;

use crate::{
    domain::Timestamp,
    reservation::port::Closing,
    store::{
        lists::{Closed, json, returns},
        port::StoreError,
    },
};

/// The posted orders whose window is over at `now`.
pub(super) async fn due(
    connection: &mut SqliteConnection,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Closed>, StoreError> {
    let due = sqlx::query_as(include_str!("../../sql/due_orders.sql"))
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
    let returned = returns(orders)?;
    let orders = json(orders)?;
    let status = how.status().as_str();
    sqlx::query(include_str!("../sql/close_orders.sql"))
        .bind(&orders)
        .bind(status)
        .bind(paid_at.map(Timestamp::as_millis))
        .execute(&mut *connection)
        .await?;
    if how != Closing::Paid {
        sqlx::query(include_str!("../sql/sell_units.sql")).bind(returned).execute(&mut *connection).await?;
    }
    sqlx::query(include_str!("../sql/insert_closings.sql"))
        .bind(&orders)
        .bind(status)
        .execute(connection)
        .await?;
    Ok(())
}
