//! Items and their own pools.

use async_trait::async_trait;
use sqlx::SqliteConnection;

use super::SqliteStore;
use crate::{
    domain::{Item, ItemId, ItemPatch, NewItem, PoolId, Timestamp},
    store::{
        port::{ItemStore, PoolRow, StockError, StoreError},
        rows::{ItemRecord, PoolRecord},
        rules,
    },
};

#[async_trait]
impl ItemStore for SqliteStore {
    async fn create_item(&self, item: &NewItem, now: Timestamp) -> Result<Item, StoreError> {
        let mut tx = self.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO items (title, description, image_url, price_minor, created_at) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(&item.title)
        .bind(&item.description)
        .bind(&item.image_url)
        .bind(item.price.0)
        .bind(now.as_millis())
        .execute(&mut *tx)
        .await?;
        let id = ItemId(inserted.last_insert_rowid());
        insert_pool(&mut tx, PoolId::Item(id), item.stock).await?;
        tx.commit().await?;
        Ok(Item {
            id,
            title: item.title.clone(),
            description: item.description.clone(),
            image_url: item.image_url.clone(),
            price: item.price,
            stock: item.stock,
            created_at: now,
        })
    }

    async fn item(&self, id: ItemId) -> Result<Option<Item>, StoreError> {
        let mut connection = self.reader().acquire().await?;
        select_item(&mut connection, id).await
    }

    async fn items(&self, after: Option<ItemId>, limit: u32) -> Result<Vec<Item>, StoreError> {
        let page: Vec<ItemRecord> = sqlx::query_as(include_str!("sql/select_items.sql"))
            .bind(after.map_or(0, |id| id.0))
            .bind(limit)
            .fetch_all(self.reader())
            .await?;
        Ok(page.into_iter().map(ItemRecord::decode).collect::<Result<_, _>>()?)
    }

    async fn update_item(&self, id: ItemId, patch: &ItemPatch) -> Result<Option<Item>, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(include_str!("sql/update_item.sql"))
            .bind(id.0)
            .bind(patch.title.as_deref())
            .bind(patch.description.as_deref())
            .bind(patch.image_url.as_deref())
            .bind(patch.price.map(|price| price.0))
            .execute(&mut *tx)
            .await?;
        let item = select_item(&mut tx, id).await?;
        tx.commit().await?;
        Ok(item)
    }

    async fn restock(&self, id: ItemId, delta: i32) -> Result<Item, StockError> {
        let mut tx = self.begin().await?;
        let pool = select_pool(&mut tx, PoolId::Item(id)).await?.ok_or(StockError::NotFound)?;
        set_initial(&mut tx, pool.pool, rules::restocked(&pool, delta)?).await?;
        let item = select_item(&mut tx, id).await?.ok_or(StockError::NotFound)?;
        tx.commit().await.map_err(StoreError)?;
        Ok(item)
    }
}

async fn select_item(connection: &mut SqliteConnection, id: ItemId) -> Result<Option<Item>, StoreError> {
    let found: Option<ItemRecord> =
        sqlx::query_as(include_str!("sql/select_item.sql")).bind(id.0).fetch_optional(connection).await?;
    Ok(found.map(ItemRecord::decode).transpose()?)
}

/// The pool's units. In a writing transaction they stay as they are until it commits.
pub(super) async fn select_pool(
    connection: &mut SqliteConnection,
    pool: PoolId,
) -> Result<Option<PoolRow>, StoreError> {
    let found: Option<PoolRecord> = sqlx::query_as("SELECT * FROM pools WHERE id = ?")
        .bind(pool.to_string())
        .fetch_optional(connection)
        .await?;
    Ok(found.map(PoolRecord::decode).transpose()?)
}

/// A new pool of which nothing is sold.
pub(super) async fn insert_pool(
    connection: &mut SqliteConnection,
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
    connection: &mut SqliteConnection,
    pool: PoolId,
    initial: u32,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE pools SET initial = ?2 WHERE id = ?1")
        .bind(pool.to_string())
        .bind(initial)
        .execute(connection)
        .await?;
    Ok(())
}
