//! Orders: reading them, writing batches of them, closing them.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sqlx::MySqlConnection;

use super::{
    MysqlStore,
    item::{lock_pool, lock_pools},
};
use crate::{
    domain::{Epoch, Order, OrderId, PoolId, PromoId, Timestamp, UserId},
    reservation::port::{Closing, OpeningOrder, Reservation},
    store::{
        decide::decide,
        lists::{Closed, json, pool_of},
        port::{Books, CloseError, OrderStore, OutboxEntry, PoolRow, StoreError, Written},
        rows::{BooksRecord, OpeningRecord, OrderRecord, OutboxRecord, PoolRecord, widen},
        rules::{self, Step},
    },
};

mod batch;
mod closing;

#[async_trait]
impl OrderStore for MysqlStore {
    async fn order(&self, user: UserId, id: OrderId) -> Result<Option<Order>, StoreError> {
        self.shop.read(|on, _| Box::pin(select_order(on, user, id))).await
    }

    async fn orders(
        &self,
        user: UserId,
        before: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<Order>, StoreError> {
        self.shop.read(|on, _| Box::pin(select_orders(on, user, before, limit))).await
    }

    async fn write_batch(&self, batch: &[Reservation], now: Timestamp) -> Result<Vec<Written>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.repeatable(|on, _| Box::pin(write(on, batch, now))).await
    }

    async fn pay(&self, user: UserId, id: OrderId, now: Timestamp) -> Result<Order, CloseError> {
        self.shop.repeatable(|on, _| Box::pin(pay(on, user, id, now))).await
    }

    async fn cancel(&self, user: UserId, id: OrderId) -> Result<Order, CloseError> {
        self.shop.repeatable(|on, _| Box::pin(cancel(on, user, id))).await
    }

    async fn expire_due(&self, now: Timestamp, limit: u32) -> Result<usize, StoreError> {
        // Mostly nothing is due: a look takes no lock.
        let due = self.writer.read(|on, _| Box::pin(closing::due(on, now, limit))).await?;
        if due.is_empty() {
            return Ok(0);
        }
        self.writer.repeatable(|on, _| Box::pin(expire(on, &due))).await
    }

    async fn has_unpaid(&self, promo: PromoId) -> Result<bool, StoreError> {
        self.shop.read(|on, _| Box::pin(any_unpaid(on, promo))).await
    }

    async fn outbox(&self, limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
        self.writer.read(|on, _| Box::pin(select_outbox(on, limit))).await
    }

    async fn outbox_done(&self, ids: &[i64]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        // In order, as every relay's.
        let ids = json(&ids.iter().collect::<BTreeSet<_>>())?;
        self.writer.repeatable(|on, _| Box::pin(delete_closings(on, &ids))).await
    }

    async fn pool(&self, pool: PoolId) -> Result<Option<PoolRow>, StoreError> {
        self.shop.read(|on, _| Box::pin(select_pool(on, pool))).await
    }

    async fn books(&self, pool: PoolId) -> Result<Option<Books>, StoreError> {
        self.shop.read(|on, _| Box::pin(select_books(on, pool))).await
    }

    async fn pools(&self) -> Result<Vec<PoolRow>, StoreError> {
        self.writer.read(|on, _| Box::pin(select_pools(on))).await
    }

    async fn opening_orders(
        &self,
        pool: PoolId,
        everything: bool,
        since: Timestamp,
    ) -> Result<Vec<OpeningOrder>, StoreError> {
        self.writer.read(|on, _| Box::pin(select_opening(on, pool, everything, since))).await
    }

    /// Not made again after an unknown COMMIT: it would find the pool beyond `from`, as if somebody else were at it.
    async fn next_epoch(
        &self,
        pool: PoolId,
        from: Epoch,
        everything: bool,
        since: Timestamp,
    ) -> Result<Option<(PoolRow, Vec<OpeningOrder>)>, StoreError> {
        self.writer.once(|on, _| Box::pin(begin_epoch(on, pool, from, everything, since))).await
    }

    async fn lease(&self, name: &str, holder: &str, now: Timestamp, ttl_ms: u64) -> Result<bool, StoreError> {
        self.writer.repeatable(|on, _| Box::pin(take_lease(on, name, holder, now, ttl_ms))).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.answers().await
    }
}

/// The order, if it is this user's.
async fn select_order(
    connection: &mut MySqlConnection,
    user: UserId,
    id: OrderId,
) -> Result<Option<Order>, StoreError> {
    fetch_order(connection, include_str!("../sql/select_order.sql"), user, id).await
}

/// The order, if it is this user's, as it is until this transaction ends.
async fn lock_order(
    connection: &mut MySqlConnection,
    user: UserId,
    id: OrderId,
) -> Result<Option<Order>, StoreError> {
    const LOCK: &str = concat!(include_str!("../sql/select_order.sql"), "FOR UPDATE");
    fetch_order(connection, LOCK, user, id).await
}

async fn fetch_order(
    connection: &mut MySqlConnection,
    sql: &'static str,
    user: UserId,
    id: OrderId,
) -> Result<Option<Order>, StoreError> {
    let found: Option<OrderRecord> =
        sqlx::query_as(sql).bind(id.to_string()).bind(user.0).fetch_optional(connection).await?;
    Ok(found.map(OrderRecord::decode).transpose()?)
}

/// The orders that the pool's ledger must know when it is opened.
async fn select_opening(
    connection: &mut MySqlConnection,
    pool: PoolId,
    everything: bool,
    since: Timestamp,
) -> Result<Vec<OpeningOrder>, StoreError> {
    let orders: Vec<OpeningRecord> = sqlx::query_as(include_str!("../sql/opening_orders.sql"))
        .bind(pool.to_string())
        .bind(everything)
        .bind(since.as_millis())
        .fetch_all(connection)
        .await?;
    Ok(orders.into_iter().map(OpeningRecord::decode).collect::<Result<_, _>>()?)
}

async fn select_orders(
    connection: &mut MySqlConnection,
    user: UserId,
    before: Option<OrderId>,
    limit: u32,
) -> Result<Vec<Order>, StoreError> {
    let page: Vec<OrderRecord> = sqlx::query_as(include_str!("../sql/select_orders.sql"))
        .bind(user.0)
        .bind(before.map(|id| id.to_string()))
        .bind(limit)
        .fetch_all(connection)
        .await?;
    Ok(page.into_iter().map(OrderRecord::decode).collect::<Result<_, _>>()?)
}

async fn write(
    connection: &mut MySqlConnection,
    batch: &[Reservation],
    now: Timestamp,
) -> Result<Vec<Written>, StoreError> {
    let known = batch::lock_and_read(connection, batch).await?;
    let plan = decide(batch, known, now);
    batch::insert_orders(connection, &plan.orders).await?;
    batch::sell_units(connection, &plan.sold).await?;
    Ok(plan.answers)
}

/// Moves no units, so it locks the order alone and does not wait for the writer.
async fn pay(
    connection: &mut MySqlConnection,
    user: UserId,
    id: OrderId,
    now: Timestamp,
) -> Result<Order, CloseError> {
    let order = lock_order(connection, user, id).await?.ok_or(CloseError::NotFound)?;
    let Step::Close(how) = rules::pay(&order, now)? else { return Ok(order) };
    closing::close(connection, &[Closed::of(&order)], how, Some(now)).await?;
    Ok(Order { status: how.status(), paid_at: Some(now), ..order })
}

async fn cancel(connection: &mut MySqlConnection, user: UserId, id: OrderId) -> Result<Order, CloseError> {
    let order = select_order(connection, user, id).await?.ok_or(CloseError::NotFound)?;
    // Only to learn the pool, which is locked first; whether it may be cancelled is asked again under its lock.
    let Step::Close(_) = rules::cancel(&order)? else { return Ok(order) };
    lock_pool(connection, pool_of(&order)).await?;
    let order = lock_order(connection, user, id).await?.ok_or(CloseError::NotFound)?;
    let Step::Close(how) = rules::cancel(&order)? else { return Ok(order) };
    closing::close(connection, &[Closed::of(&order)], how, None).await?;
    Ok(Order { status: how.status(), ..order })
}

/// Returns how many of the orders it was that expired them.
async fn expire(connection: &mut MySqlConnection, due: &[Closed]) -> Result<usize, StoreError> {
    lock_pools(connection, &closing::pools(due)?).await?;
    // Others may have closed some of them meanwhile.
    let due = closing::lock_posted(connection, due).await?;
    closing::close(connection, &due, Closing::Expired, None).await?;
    Ok(due.len())
}

/// By old statistics the server may prefer to read the whole table, so it is told not to.
async fn any_unpaid(connection: &mut MySqlConnection, promo: PromoId) -> Result<bool, StoreError> {
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT 1 FROM orders FORCE INDEX (orders_by_promo) WHERE promo_id = ? AND status = 'awaiting_payment' LIMIT 1",
    )
    .bind(promo.0)
    .fetch_optional(connection)
    .await?;
    Ok(found.is_some())
}

async fn select_outbox(connection: &mut MySqlConnection, limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
    let oldest: Vec<OutboxRecord> = sqlx::query_as(
        "SELECT id, order_id, pool_id, user_id, closing FROM ledger_outbox ORDER BY id LIMIT ?",
    )
    .bind(limit)
    .fetch_all(connection)
    .await?;
    Ok(oldest.into_iter().map(OutboxRecord::decode).collect::<Result<_, _>>()?)
}

async fn delete_closings(connection: &mut MySqlConnection, ids: &str) -> Result<(), StoreError> {
    sqlx::query(include_str!("sql/delete_closings.sql")).bind(ids).execute(connection).await?;
    Ok(())
}

async fn select_pool(connection: &mut MySqlConnection, pool: PoolId) -> Result<Option<PoolRow>, StoreError> {
    let found: Option<PoolRecord> = sqlx::query_as("SELECT * FROM pools WHERE id = ?")
        .bind(pool.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(found.map(PoolRecord::decode).transpose()?)
}

async fn select_books(connection: &mut MySqlConnection, pool: PoolId) -> Result<Option<Books>, StoreError> {
    let found: Option<BooksRecord> = sqlx::query_as(include_str!("sql/select_books.sql"))
        .bind(pool.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(found.map(BooksRecord::decode).transpose()?)
}

async fn select_pools(connection: &mut MySqlConnection) -> Result<Vec<PoolRow>, StoreError> {
    let all: Vec<PoolRecord> =
        sqlx::query_as("SELECT * FROM pools ORDER BY id").fetch_all(connection).await?;
    Ok(all.into_iter().map(PoolRecord::decode).collect::<Result<_, _>>()?)
}

async fn begin_epoch(
    connection: &mut MySqlConnection,
    pool: PoolId,
    from: Epoch,
    everything: bool,
    since: Timestamp,
) -> Result<Option<(PoolRow, Vec<OpeningOrder>)>, StoreError> {
    let found = lock_pool(connection, pool).await?;
    let Some(row) = found.and_then(|row| rules::succeeding(row, from)) else { return Ok(None) };
    sqlx::query("UPDATE pools SET epoch = ? WHERE id = ?")
        .bind(widen(row.epoch.0)?)
        .bind(pool.to_string())
        .execute(&mut *connection)
        .await?;
    Ok(Some((row, select_opening(connection, pool, everything, since).await?)))
}

async fn take_lease(
    connection: &mut MySqlConnection,
    name: &str,
    holder: &str,
    now: Timestamp,
    ttl_ms: u64,
) -> Result<bool, StoreError> {
    let expires_at = now.plus_millis(ttl_ms);
    let renewed = sqlx::query(include_str!("sql/take_lease.sql"))
        .bind(holder)
        .bind(expires_at.as_millis())
        .bind(name)
        .bind(holder)
        .bind(now.as_millis())
        .execute(&mut *connection)
        .await?;
    if renewed.rows_affected() == 1 {
        return Ok(true);
    }
    // Somebody else has it, or nobody ever had.
    let inserted = sqlx::query("INSERT IGNORE INTO leases (name, holder, expires_at) VALUES (?, ?, ?)")
        .bind(name)
        .bind(holder)
        .bind(expires_at.as_millis())
        .execute(connection)
        .await?;
    Ok(inserted.rows_affected() == 1)
}
