//! Promos and their pools.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sqlx::MySqlConnection;

use super::{
    MysqlStore,
    item::{insert_pool, lock_pool, lock_pools, set_initial},
};
use crate::{
    domain::{Admission, NewPromo, PoolId, Promo, PromoId, PromoStage, Timestamp},
    store::{
        port::{PromoStore, StageError, StoreError},
        rows::{PromoRecord, widen},
        rules,
    },
};

#[async_trait]
impl PromoStore for MysqlStore {
    /// Not made again after an unknown COMMIT: there might be two of it.
    async fn create_promo(&self, promo: &NewPromo, now: Timestamp) -> Result<Option<Promo>, StoreError> {
        self.shop.once(|on, _| Box::pin(insert_promo(on, promo, now))).await
    }

    async fn promo(&self, id: PromoId) -> Result<Option<Promo>, StoreError> {
        self.shop.read(|on, _| Box::pin(select_promo(on, id))).await
    }

    async fn promos(
        &self,
        after: Option<PromoId>,
        limit: u32,
        drafts: bool,
    ) -> Result<Vec<Promo>, StoreError> {
        self.shop.read(|on, _| Box::pin(select_promos(on, after, limit, drafts))).await
    }

    async fn live_promos(&self) -> Result<Vec<Promo>, StoreError> {
        let sql = "SELECT * FROM promos WHERE stage IN ('published', 'paused') ORDER BY id";
        self.shop.read(|on, _| Box::pin(select_all(on, sql))).await
    }

    async fn unsettled_promos(&self) -> Result<Vec<Promo>, StoreError> {
        let sql = include_str!("sql/unsettled_promos.sql");
        self.shop.read(|on, _| Box::pin(select_all(on, sql))).await
    }

    /// Not made again after an unknown COMMIT: it would find the promo published, and refuse.
    async fn publish_promo(&self, id: PromoId, now: Timestamp) -> Result<Promo, StageError> {
        self.shop.once(|on, _| Box::pin(publish(on, id, now))).await
    }

    async fn set_stage(&self, id: PromoId, from: &[PromoStage], to: PromoStage) -> Result<Promo, StageError> {
        self.shop.repeatable(|on, _| Box::pin(set_stage(on, id, from, to))).await
    }

    async fn set_admission(&self, id: PromoId, admission: Admission) -> Result<Option<Promo>, StoreError> {
        self.shop.repeatable(|on, _| Box::pin(set_admission(on, id, admission))).await
    }

    /// Not made again after an unknown COMMIT: it might move `units` twice.
    async fn return_stock(&self, id: PromoId, units: u32) -> Result<u32, StoreError> {
        self.shop.once(|on, _| Box::pin(return_stock(on, id, units))).await
    }
}

async fn insert_promo(
    connection: &mut MySqlConnection,
    promo: &NewPromo,
    now: Timestamp,
) -> Result<Option<Promo>, StoreError> {
    let inserted = sqlx::query(include_str!("sql/insert_promo.sql"))
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
        .bind(promo.item_id.0)
        .execute(&mut *connection)
        .await?;
    if inserted.rows_affected() == 0 {
        return Ok(None);
    }
    select_promo(connection, PromoId(super::id(inserted.last_insert_id())?)).await
}

/// The item's pool is locked before the promo, and stands for all promos of the item: two that overlap are not published
/// at the same time.
async fn publish(connection: &mut MySqlConnection, id: PromoId, now: Timestamp) -> Result<Promo, StageError> {
    let item = select_promo(connection, id).await?.ok_or(StageError::NotFound)?.item_id;
    let stock = lock_pool(connection, PoolId::Item(item)).await?;
    let promo = lock_promo(connection, id).await?.ok_or(StageError::NotFound)?;
    rules::publishable(&promo, now)?;
    if let Some(other) = overlapping(connection, &promo).await? {
        return Err(StageError::Overlaps(other));
    }
    let stock = stock.filter(|pool| rules::unsold(pool) >= promo.stock).ok_or(StageError::NotEnoughStock)?;
    set_initial(connection, stock.pool, stock.initial - promo.stock).await?;
    insert_pool(connection, PoolId::Promo(id), promo.stock).await?;
    update_stage(connection, id, PromoStage::Published).await?;
    Ok(Promo { stage: PromoStage::Published, ..promo })
}

async fn select_promo(connection: &mut MySqlConnection, id: PromoId) -> Result<Option<Promo>, StoreError> {
    let found: Option<PromoRecord> =
        sqlx::query_as("SELECT * FROM promos WHERE id = ?").bind(id.0).fetch_optional(connection).await?;
    Ok(found.map(PromoRecord::decode).transpose()?)
}

async fn lock_promo(connection: &mut MySqlConnection, id: PromoId) -> Result<Option<Promo>, StoreError> {
    let found: Option<PromoRecord> = sqlx::query_as("SELECT * FROM promos WHERE id = ? FOR UPDATE")
        .bind(id.0)
        .fetch_optional(connection)
        .await?;
    Ok(found.map(PromoRecord::decode).transpose()?)
}

async fn overlapping(connection: &mut MySqlConnection, promo: &Promo) -> Result<Option<PromoId>, StoreError> {
    let id: Option<i64> = sqlx::query_scalar(include_str!("../sql/overlapping_promo.sql"))
        .bind(promo.item_id.0)
        .bind(promo.ends_at.as_millis())
        .bind(promo.starts_at.as_millis())
        .fetch_optional(connection)
        .await?;
    Ok(id.map(PromoId))
}

async fn update_stage(
    connection: &mut MySqlConnection,
    id: PromoId,
    stage: PromoStage,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE promos SET stage = ? WHERE id = ?")
        .bind(stage.as_str())
        .bind(id.0)
        .execute(connection)
        .await?;
    Ok(())
}

fn decode(records: Vec<PromoRecord>) -> Result<Vec<Promo>, StoreError> {
    Ok(records.into_iter().map(PromoRecord::decode).collect::<Result<_, _>>()?)
}

async fn select_promos(
    connection: &mut MySqlConnection,
    after: Option<PromoId>,
    limit: u32,
    drafts: bool,
) -> Result<Vec<Promo>, StoreError> {
    let page = sqlx::query_as(include_str!("../sql/select_promos.sql"))
        .bind(after.map_or(0, |id| id.0))
        .bind(drafts)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    decode(page)
}

async fn set_stage(
    connection: &mut MySqlConnection,
    id: PromoId,
    from: &[PromoStage],
    to: PromoStage,
) -> Result<Promo, StageError> {
    let promo = lock_promo(connection, id).await?.ok_or(StageError::NotFound)?;
    if promo.stage == to {
        return Ok(promo);
    }
    if !from.contains(&promo.stage) {
        return Err(StageError::WrongStage(promo.stage));
    }
    update_stage(connection, id, to).await?;
    Ok(Promo { stage: to, ..promo })
}

async fn set_admission(
    connection: &mut MySqlConnection,
    id: PromoId,
    admission: Admission,
) -> Result<Option<Promo>, StoreError> {
    sqlx::query("UPDATE promos SET rate_per_s = ?, max_active = ?, pass_ttl_ms = ? WHERE id = ?")
        .bind(admission.rate_per_s)
        .bind(admission.max_active)
        .bind(widen(admission.pass_ttl_ms)?)
        .bind(id.0)
        .execute(&mut *connection)
        .await?;
    select_promo(connection, id).await
}

async fn return_stock(connection: &mut MySqlConnection, id: PromoId, units: u32) -> Result<u32, StoreError> {
    let Some(promo) = select_promo(connection, id).await? else { return Ok(0) };
    let both = BTreeSet::from([PoolId::Item(promo.item_id), PoolId::Promo(id)]);
    let locked = lock_pools(connection, &both).await?;
    // A draft has no pool yet.
    let [stock, pool] = locked.as_slice() else { return Ok(0) };
    let moved = rules::returnable(pool, stock, units);
    set_initial(connection, stock.pool, stock.initial + moved).await?;
    set_initial(connection, pool.pool, pool.initial - moved).await?;
    Ok(moved)
}

async fn select_all(connection: &mut MySqlConnection, sql: &'static str) -> Result<Vec<Promo>, StoreError> {
    decode(sqlx::query_as(sql).fetch_all(connection).await?)
}
