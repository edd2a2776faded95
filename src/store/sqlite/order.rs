//! Orders: reading them, writing batches of them, closing them.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{SqliteStore, item::select_pool};
use crate::{
    domain::{Epoch, Order, OrderId, PoolId, PromoId, Timestamp, UserId},
    reservation::port::{Closing, OpeningOrder, Reservation},
    store::{
        decide::decide,
        lists::{Closed, json},
        port::{Books, CloseError, OrderStore, OutboxEntry, PoolRow, StoreError, Written},
        rows::{BooksRecord, OpeningRecord, OrderRecord, OutboxRecord, PoolRecord, widen},
        rules::{self, Step},
    },
};

mod batch;
mod closing;

#[async_trait]
impl OrderStore for SqliteStore {
    async fn order(&self, user: UserId, id: OrderId) -> Result<Option<Order>, StoreError> {
        let mut connection = self.reader().acquire().await?;
        select_order(&mut connection, user, id).await
    }

    async fn orders(
        &self,
        user: UserId,
        before: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<Order>, StoreError> {
        let page: Vec<OrderRecord> = sqlx::query_as(include_str!("../sql/select_orders.sql"))
            .bind(user.0)
            .bind(before.map(|id| id.to_string()))
            .bind(limit)
            .fetch_all(self.reader())
            .await?;
        Ok(page.into_iter().map(OrderRecord::decode).collect::<Result<_, _>>()?)
    }

    async fn write_batch(&self, batch: &[Reservation], now: Timestamp) -> Result<Vec<Written>, StoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.begin().await?;
        let known = batch::read(&mut tx, batch).await?;
        let plan = decide(batch, known, now);
        batch::insert_orders(&mut tx, &plan.orders).await?;
        batch::sell_units(&mut tx, &plan.sold).await?;
        tx.commit().await?;
        Ok(plan.answers)
    }

    async fn pay(&self, user: UserId, id: OrderId, now: Timestamp) -> Result<Order, CloseError> {
        let _turn = self.turn().await?;
        let mut tx = self.begin().await?;
        let order = select_order(&mut tx, user, id).await?.ok_or(CloseError::NotFound)?;
        let Step::Close(how) = rules::pay(&order, now)? else { return Ok(order) };
        closing::close(&mut tx, &[Closed::of(&order)], how, Some(now)).await?;
        tx.commit().await.map_err(StoreError)?;
        Ok(Order { status: how.status(), paid_at: Some(now), ..order })
    }

    async fn cancel(&self, user: UserId, id: OrderId) -> Result<Order, CloseError> {
        let _turn = self.turn().await?;
        let mut tx = self.begin().await?;
        let order = select_order(&mut tx, user, id).await?.ok_or(CloseError::NotFound)?;
        let Step::Close(how) = rules::cancel(&order)? else { return Ok(order) };
        closing::close(&mut tx, &[Closed::of(&order)], how, None).await?;
        tx.commit().await.map_err(StoreError)?;
        Ok(Order { status: how.status(), ..order })
    }

    async fn expire_due(&self, now: Timestamp, limit: u32) -> Result<usize, StoreError> {
        // Mostly nothing is due: a look on a reading connection keeps the writing one free.
        let mut reading = self.reader().acquire().await?;
        if closing::due(&mut reading, now, 1).await?.is_empty() {
            return Ok(0);
        }
        drop(reading);
        let mut tx = self.begin().await?;
        let due = closing::due(&mut tx, now, limit).await?;
        closing::close(&mut tx, &due, Closing::Expired, None).await?;
        tx.commit().await?;
        Ok(due.len())
    }

    async fn has_unpaid(&self, promo: PromoId) -> Result<bool, StoreError> {
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM orders WHERE promo_id = ? AND status = 'awaiting_payment' LIMIT 1",
        )
        .bind(promo.0)
        .fetch_optional(self.reader())
        .await?;
        Ok(found.is_some())
    }

    async fn outbox(&self, limit: u32) -> Result<Vec<OutboxEntry>, StoreError> {
        let oldest: Vec<OutboxRecord> = sqlx::query_as(
            "SELECT id, order_id, pool_id, user_id, closing FROM ledger_outbox ORDER BY id LIMIT ?",
        )
        .bind(limit)
        .fetch_all(self.reader())
        .await?;
        Ok(oldest.into_iter().map(OutboxRecord::decode).collect::<Result<_, _>>()?)
    }

    async fn outbox_done(&self, ids: &[i64]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        sqlx::query("DELETE FROM ledger_outbox WHERE id IN (SELECT value FROM json_each(?))")
            .bind(json(ids)?)
            .execute(self.writer())
            .await?;
        Ok(())
    }

    async fn pool(&self, pool: PoolId) -> Result<Option<PoolRow>, StoreError> {
        let mut connection = self.reader().acquire().await?;
        select_pool(&mut connection, pool).await
    }

    async fn books(&self, pool: PoolId) -> Result<Option<Books>, StoreError> {
        let found: Option<BooksRecord> = sqlx::query_as(include_str!("sql/select_books.sql"))
            .bind(pool.to_string())
            .fetch_optional(self.reader())
            .await?;
        Ok(found.map(BooksRecord::decode).transpose()?)
    }

    async fn pools(&self) -> Result<Vec<PoolRow>, StoreError> {
        let all: Vec<PoolRecord> =
            sqlx::query_as("SELECT * FROM pools ORDER BY id").fetch_all(self.reader()).await?;
        Ok(all.into_iter().map(PoolRecord::decode).collect::<Result<_, _>>()?)
    }

    async fn opening_orders(
        &self,
        pool: PoolId,
        everything: bool,
        since: Timestamp,
    ) -> Result<Vec<OpeningOrder>, StoreError> {
        let mut connection = self.reader().acquire().await?;
        select_opening(&mut connection, pool, everything, since).await
    }

    async fn next_epoch(
        &self,
        pool: PoolId,
        from: Epoch,
        everything: bool,
        since: Timestamp,
    ) -> Result<Option<(PoolRow, Vec<OpeningOrder>)>, StoreError> {
        let mut tx = self.begin().await?;
        let found = select_pool(&mut tx, pool).await?;
        let Some(row) = found.and_then(|row| rules::succeeding(row, from)) else { return Ok(None) };
        sqlx::query("UPDATE pools SET epoch = ?2 WHERE id = ?1")
            .bind(pool.to_string())
            .bind(widen(row.epoch.0)?)
            .execute(&mut *tx)
            .await?;
        let orders = select_opening(&mut tx, pool, everything, since).await?;
        tx.commit().await?;
        Ok(Some((row, orders)))
    }

    async fn lease(&self, name: &str, holder: &str, now: Timestamp, ttl_ms: u64) -> Result<bool, StoreError> {
        let taken = sqlx::query(include_str!("sql/take_lease.sql"))
            .bind(name)
            .bind(holder)
            .bind(now.as_millis())
            .bind(now.plus_millis(ttl_ms).as_millis())
            .execute(self.writer())
            .await?;
        Ok(taken.rows_affected() == 1)
    }

    async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT 1").execute(self.reader()).await?;
        Ok(())
    }
}

/// The orders that the pool's ledger must know when it is opened.
async fn select_opening(
    connection: &mut SqliteConnection,
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

/// The order, if it is this user's.
async fn select_order(
    connection: &mut SqliteConnection,
    user: UserId,
    id: OrderId,
) -> Result<Option<Order>, StoreError> {
    let found: Option<OrderRecord> = sqlx::query_as(include_str!("../sql/select_order.sql"))
        .bind(id.to_string())
        .bind(user.0)
        .fetch_optional(connection)
        .await?;
    Ok(found.map(OrderRecord::decode).transpose()?)
}
