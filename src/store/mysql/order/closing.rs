//! The SQL of closing posted orders: their status, their pools' units, and the news for the ledger.

use std::collections::BTreeSet;

use sqlx::MySqlConnection;

use crate::{
    domain::{PoolId, Timestamp},
    reservation::port::Closing,
    store::{
        lists::{Closed, json, returns},
        port::StoreError,
        rows::parsed,
    },
};

/// The posted orders whose window is over at `now`.
pub(super) async fn due(
    connection: &mut MySqlConnection,
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

/// The pools that the orders draw on.
pub(super) fn pools(orders: &[Closed]) -> Result<BTreeSet<PoolId>, StoreError> {
    Ok(orders.iter().map(|order| parsed("orders.pool_id", &order.pool_id)).collect::<Result<_, _>>()?)
}

/// Those of `orders` that still await their payment, and do so until this transaction ends.
pub(super) async fn lock_posted(
    connection: &mut MySqlConnection,
    orders: &[Closed],
) -> Result<Vec<Closed>, StoreError> {
    let mut in_order: Vec<&Closed> = orders.iter().collect();
    in_order.sort_unstable_by_key(|order| &order.order_id);
    let posted = sqlx::query_as(include_str!("../sql/lock_posted.sql"))
        .bind(json(&in_order)?)
        .fetch_all(connection)
        .await?;
    Ok(posted)
}

/// Closes orders that this transaction has locked awaiting payment. All but paid ones give their units back, so their
/// pools are locked too.
pub(super) async fn close(
    connection: &mut MySqlConnection,
    orders: &[Closed],
    how: Closing,
    paid_at: Option<Timestamp>,
) -> Result<(), StoreError> {
    if orders.is_empty() {
        return Ok(());
    }
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
        .bind(status)
        .bind(&orders)
        .execute(connection)
        .await?;
    Ok(())
}
