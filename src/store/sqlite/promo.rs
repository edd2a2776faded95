//! Promos and their pools.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::{
    SqliteStore,
    item::{insert_pool, select_pool, set_initial},
};
use crate::{
    domain::{Admission, NewPromo, PoolId, Promo, PromoId, PromoStage, Timestamp},
    store::{
        port::{PoolRow, PromoStore, StageError, StoreError},
        rows::{PromoRecord, widen},
        rules,
    },
};

#[async_trait]
impl PromoStore for SqliteStore {
    async fn create_promo(&self, promo: &NewPromo, now: Timestamp) -> Result<Option<Promo>, StoreError> {
        let mut tx = self.begin().await?;
        let inserted = sqlx::query(include_str!("sql/insert_promo.sql"))
            .bind(promo.item_id.0)
            .bind(&promo.title)
            .bind(promo.price.0)
            .bind(promo.stock)
            .bind(promo.per_user_limit)
            .bind(promo.starts_at.as_millis())
            .bind(promo.ends_at.as_millis())
            .bind(promo.admission.rate_per_s)
            .bind(promo.admission.max_active)
            .bind(widen(promo.admission.pass_ttl_ms)?)
            .bind(widen(promo.payment_window_ms)?)
            .bind(promo.seed.0.as_slice())
            .bind(now.as_millis())
            .execute(&mut *tx)
            .await?;
        if inserted.rows_affected() == 0 {
            return Ok(None);
        }
        let created = select_promo(&mut tx, PromoId(inserted.last_insert_rowid())).await?;
        tx.commit().await?;
        Ok(created)
    }

    async fn promo(&self, id: PromoId) -> Result<Option<Promo>, StoreError> {
        let mut connection = self.reader().acquire().await?;
        select_promo(&mut connection, id).await
    }

    async fn promos(
        &self,
        after: Option<PromoId>,
        limit: u32,
        drafts: bool,
    ) -> Result<Vec<Promo>, StoreError> {
        let page = sqlx::query_as(include_str!("../sql/select_promos.sql"))
            .bind(after.map_or(0, |id| id.0))
            .bind(drafts)
            .bind(limit)
            .fetch_all(self.reader())
            .await?;
        decode(page)
    }

    async fn live_promos(&self) -> Result<Vec<Promo>, StoreError> {
        let found = sqlx::query_as("SELECT * FROM promos WHERE stage IN ('published', 'paused') ORDER BY id")
            .fetch_all(self.reader())
            .await?;
        decode(found)
    }

    async fn unsettled_promos(&self) -> Result<Vec<Promo>, StoreError> {
        let sql = include_str!("sql/unsettled_promos.sql");
        decode(sqlx::query_as(sql).fetch_all(self.reader()).await?)
    }

    async fn publish_promo(&self, id: PromoId, now: Timestamp) -> Result<Promo, StageError> {
        let mut tx = self.begin().await?;
        let promo = select_promo(&mut tx, id).await?.ok_or(StageError::NotFound)?;
        rules::publishable(&promo, now)?;
        if let Some(other) = overlapping(&mut tx, &promo).await? {
            return Err(StageError::Overlaps(other));
        }
        let stock =
            select_pool(&mut tx, PoolId::Item(promo.item_id)).await?.ok_or(StageError::NotEnoughStock)?;
        if rules::unsold(&stock) < promo.stock {
            return Err(StageError::NotEnoughStock);
        }
        set_initial(&mut tx, stock.pool, stock.initial - promo.stock).await?;
        insert_pool(&mut tx, PoolId::Promo(id), promo.stock).await?;
        update_stage(&mut tx, id, PromoStage::Published).await?;
        tx.commit().await.map_err(StoreError)?;
        Ok(Promo { stage: PromoStage::Published, ..promo })
    }

    async fn set_stage(&self, id: PromoId, from: &[PromoStage], to: PromoStage) -> Result<Promo, StageError> {
        let mut tx = self.begin().await?;
        let promo = select_promo(&mut tx, id).await?.ok_or(StageError::NotFound)?;
        if promo.stage == to {
            return Ok(promo);
        }
        if !from.contains(&promo.stage) {
            return Err(StageError::WrongStage(promo.stage));
        }
        update_stage(&mut tx, id, to).await?;
        tx.commit().await.map_err(StoreError)?;
        Ok(Promo { stage: to, ..promo })
    }

    async fn set_admission(&self, id: PromoId, admission: Admission) -> Result<Option<Promo>, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query("UPDATE promos SET rate_per_s = ?2, max_active = ?3, pass_ttl_ms = ?4 WHERE id = ?1")
            .bind(id.0)
            .bind(admission.rate_per_s)
            .bind(admission.max_active)
            .bind(widen(admission.pass_ttl_ms)?)
            .execute(&mut *tx)
            .await?;
        let promo = select_promo(&mut tx, id).await?;
        tx.commit().await?;
        Ok(promo)
    }

    async fn return_stock(&self, id: PromoId, units: u32) -> Result<u32, StoreError> {
        let mut tx = self.begin().await?;
        let Some((stock, pool)) = pools_of(&mut tx, id).await? else { return Ok(0) };
        let moved = rules::returnable(&pool, &stock, units);
        set_initial(&mut tx, stock.pool, stock.initial + moved).await?;
        set_initial(&mut tx, pool.pool, pool.initial - moved).await?;
        tx.commit().await?;
        Ok(moved)
    }
}

/// The pools of the promo's item and of the promo itself, in the order of their ids. A draft has no pool yet.
async fn pools_of(
    connection: &mut SqliteConnection,
    id: PromoId,
) -> Result<Option<(PoolRow, PoolRow)>, StoreError> {
    let Some(promo) = select_promo(connection, id).await? else { return Ok(None) };
    let stock = select_pool(connection, PoolId::Item(promo.item_id)).await?;
    let pool = select_pool(connection, PoolId::Promo(id)).await?;
    Ok(stock.zip(pool))
}

async fn select_promo(connection: &mut SqliteConnection, id: PromoId) -> Result<Option<Promo>, StoreError> {
    let found: Option<PromoRecord> =
        sqlx::query_as("SELECT * FROM promos WHERE id = ?").bind(id.0).fetch_optional(connection).await?;
    Ok(found.map(PromoRecord::decode).transpose()?)
}

async fn overlapping(
    connection: &mut SqliteConnection,
    promo: &Promo,
) -> Result<Option<PromoId>, StoreError> {
    let id: Option<i64> = sqlx::query_scalar(include_str!("../sql/overlapping_promo.sql"))
        .bind(promo.item_id.0)
        .bind(promo.ends_at.as_millis())
        .bind(promo.starts_at.as_millis())
        .fetch_optional(connection)
        .await?;
    Ok(id.map(PromoId))
}

async fn update_stage(
    connection: &mut SqliteConnection,
    id: PromoId,
    stage: PromoStage,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE promos SET stage = ?2 WHERE id = ?1")
        .bind(id.0)
        .bind(stage.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

fn decode(records: Vec<PromoRecord>) -> Result<Vec<Promo>, StoreError> {
    Ok(records.into_iter().map(PromoRecord::decode).collect::<Result<_, _>>()?)
}
