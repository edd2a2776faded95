//! Items, and the rows of pools.

use std::collections::BTreeSet;

use async_trait::async_trait;
use sqlx::MySqlConnection;

use super::MysqlStore;
use crate::{
    domain::{Item, ItemId, ItemPatch, NewItem, PoolId, Timestamp},
    store::{
        lists::json,
        port::{ItemStore, PoolRow, StockError, StoreError},
        rows::{ItemRecord, PoolRecord},
        rules,
    },
};

#[async_trait]
impl ItemStore for MysqlStore {
    /// Not made again after an unknown COMMIT: there might be two of it.
    async fn create_item(&self, item: &NewItem, now: Timestamp) -> Result<Item, StoreError> {
        self.shop.once(|on, _| Box::pin(insert_item(on, item, now))).await
    }

    async fn item(&self, id: ItemId) -> Result<Option<Item>, StoreError> {
        self.shop.read(|on, _| Box::pin(select_item(on, id))).await
    }

    async fn items(&self, after: Option<ItemId>, limit: u32) -> Result<Vec<Item>, StoreError> {
        self.shop.read(|on, _| Box::pin(select_items(on, after, limit))).await
    }

    async fn update_item(&self, id: ItemId, patch: &ItemPatch) -> Result<Option<Item>, StoreError> {
        self.shop.repeatable(|on, _| Box::pin(update(on, id, patch))).await
    }

    /// Not made again after an unknown COMMIT: the units might be added twice.
    async fn restock(&self, id: ItemId, delta: i32) -> Result<Item, StockError> {
        self.shop.once(|on, _| Box::pin(restock(on, id, delta))).await
    }
}

async fn insert_item(
    connection: &mut MySqlConnection,
    item: &NewItem,
    now: Timestamp,
) -> Result<Item, StoreError> {
    let inserted = sqlx::query(
        "INSERT INTO items (title, description, image_url, price_minor, created_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&item.title)
    .bind(&item.description)
    .bind(&item.image_url)
    .bind(item.price.0)
    .bind(now.as_millis())
    .execute(&mut *connection)
    .await?;
    let id = ItemId(super::id(inserted.last_insert_id())?);
    insert_pool(connection, PoolId::Item(id), item.stock).await?;
    Ok(select_item(connection, id).await?.ok_or(sqlx::Error::RowNotFound)?)
}

async fn select_item(connection: &mut MySqlConnection, id: ItemId) -> Result<Option<Item>, StoreError> {
    let found: Option<ItemRecord> =
        sqlx::query_as(include_str!("sql/select_item.sql")).bind(id.0).fetch_optional(connection).await?;
    Ok(found.map(ItemRecord::decode).transpose()?)
}

/// Locks the rows of those of `pools` that exist, in the order of their ids, and returns them in it.
pub(super) async fn lock_pools(
    connection: &mut MySqlConnection,
    pools: &BTreeSet<PoolId>,
) -> Result<Vec<PoolRow>, StoreError> {
    let locked: Vec<PoolRecord> =
        sqlx::query_as(include_str!("sql/lock_pools.sql")).bind(json(pools)?).fetch_all(connection).await?;
    Ok(locked.into_iter().map(PoolRecord::decode).collect::<Result<_, _>>()?)
}

/// Locks the pool's row, if there is one.
pub(super) async fn lock_pool(
    connection: &mut MySqlConnection,
    pool: PoolId,
) -> Result<Option<PoolRow>, StoreError> {
    Ok(lock_pools(connection, &BTreeSet::from([pool])).await?.pop())
}

/// A new pool of which nothing is sold.
pub(super) async fn insert_pool(
    connection: &mut MySqlConnection,
    pool: PoolId,
    initial: u32,
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO pools (id, initial) VALUES (?, ?)")
        .bind(pool.to_string())
        .bind(initial)
        .execute(connection)
        .await?;
    Ok(())
}

/// Changes how many units the pool has, the sold among them.
pub(super) async fn set_initial(
    connection: &mut MySqlConnection,
    pool: PoolId,
    initial: u32,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE pools SET initial = ? WHERE id = ?")
        .bind(initial)
        .bind(pool.to_string())
        .execute(connection)
        .await?;
    Ok(())
}

async fn select_items(
    connection: &mut MySqlConnection,
    after: Option<ItemId>,
    limit: u32,
) -> Result<Vec<Item>, StoreError> {
    let page: Vec<ItemRecord> = sqlx::query_as(include_str!("sql/select_items.sql"))
        .bind(after.map_or(0, |id| id.0))
        .bind(limit)
        .fetch_all(connection)
        .await?;
    Ok(page.into_iter().map(ItemRecord::decode).collect::<Result<_, _>>()?)
}

async fn update(
    connection: &mut MySqlConnection,
    id: ItemId,
    patch: &ItemPatch,
) -> Result<Option<Item>, StoreError> {
    sqlx::query(include_str!("sql/update_item.sql"))
        .bind(patch.title.as_deref())
        .bind(patch.description.as_deref())
        .bind(patch.image_url.as_deref())
        .bind(patch.price.map(|price| price.0))
        .bind(id.0)
        .execute(&mut *connection)
        .await?;
    select_item(connection, id).await
}

async fn restock(connection: &mut MySqlConnection, id: ItemId, delta: i32) -> Result<Item, StockError> {
    let pool = lock_pool(connection, PoolId::Item(id)).await?.ok_or(StockError::NotFound)?;
    set_initial(connection, pool.pool, rules::restocked(&pool, delta)?).await?;
    select_item(connection, id).await?.ok_or(StockError::NotFound)
}
