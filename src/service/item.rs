//! Items: create, edit, restock.
//!
//! Knows that an item's units are in two places, the database and the ledger, and in which order to change them: the
//! ledger must never promise a unit that the database does not have.

use std::sync::Arc;

use super::{
    catalog::{Catalog, CatalogError, Page},
    shelf::{Shelf, ShownItem},
    to_the_end,
};
use crate::{
    domain::{Epoch, Item, ItemId, ItemPatch, NewItem, PoolId, Timestamp},
    reservation::port::{EngineError, Opening, Reservations, WithdrawError},
    store::port::{ItemStore, StockError, StoreError},
};

/// The item was not created, or is not for sale yet.
#[derive(Debug, thiserror::Error)]
pub enum CreateItemError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The item is in the database; its stock opens at the next start.
    #[error("the stock of the new item {0} could not be opened: {1}")]
    Engine(ItemId, EngineError),
}

/// The stock is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RestockError {
    #[error("there is no such item")]
    NotFound,
    /// Fewer units are available than were to be taken away.
    #[error("only {available} units are available")]
    Insufficient { available: u32 },
    /// A pool cannot hold that many units.
    #[error("the stock cannot be changed by that much")]
    OutOfRange,
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What administrators do with items, and everybody's view of them.
pub struct ItemService {
    store: Arc<dyn ItemStore>,
    reservations: Arc<dyn Reservations>,
    catalog: Arc<Catalog>,
    shelf: Shelf,
}

impl ItemService {
    pub fn new(
        store: Arc<dyn ItemStore>,
        reservations: Arc<dyn Reservations>,
        catalog: Arc<Catalog>,
    ) -> Self {
        let shelf = Shelf::new(Arc::clone(&catalog), Arc::clone(&reservations));
        Self { store, reservations, catalog, shelf }
    }

    pub async fn item(&self, id: ItemId, now: Timestamp) -> Result<Option<ShownItem>, CatalogError> {
        match self.catalog.item(id).await? {
            Some(item) => Ok(Some(self.shelf.item(item, now).await?)),
            None => Ok(None),
        }
    }

    /// Items after `after` in ascending order of id, and the cursor of the next page.
    pub async fn items(
        &self,
        after: Option<ItemId>,
        limit: u32,
        now: Timestamp,
    ) -> Result<(Vec<ShownItem>, Option<ItemId>), CatalogError> {
        let Page { rows, more } = self.catalog.items(after, limit).await?;
        let next = rows.last().filter(|_| more).map(|item| item.id);
        Ok((self.shelf.items(&rows, now).await?, next))
    }

    /// An item that has just been written, as it is shown.
    pub async fn shown(&self, item: Item, now: Timestamp) -> Result<ShownItem, CatalogError> {
        self.shelf.item(Arc::new(item), now).await
    }

    /// Creates the item and opens its stock for sale.
    pub async fn create(self: &Arc<Self>, item: NewItem, now: Timestamp) -> Result<Item, CreateItemError> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let item = this.store.create_item(&item, now).await?;
            this.catalog.changed();
            let opening = Opening {
                epoch: Epoch::default(),
                initial: item.stock,
                sold: 0,
                per_user_limit: None,
                gate: None,
                orders: Vec::new(),
            };
            let opened = this.reservations.open(PoolId::Item(item.id), opening).await;
            opened.map_err(|error| CreateItemError::Engine(item.id, error))?;
            Ok(item)
        })
        .await
    }

    /// Changes what the patch names. `None`: there is no such item.
    pub async fn edit(&self, id: ItemId, patch: &ItemPatch) -> Result<Option<Item>, StoreError> {
        let edited = self.store.update_item(id, patch).await?;
        self.catalog.changed();
        Ok(edited)
    }

    /// Adds units, or takes away units that nobody has ordered.
    pub async fn restock(self: &Arc<Self>, id: ItemId, delta: i32) -> Result<Item, RestockError> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let units = delta.unsigned_abs();
            let item = if delta < 0 {
                this.take_away(id, delta, units).await
            } else {
                this.add(id, delta, units).await
            };
            this.catalog.changed();
            item
        })
        .await
    }

    /// The ledger first: what it gives up, nobody can order while the database is asked.
    async fn take_away(&self, id: ItemId, delta: i32, units: u32) -> Result<Item, RestockError> {
        let pool = PoolId::Item(id);
        if self.store.item(id).await?.is_none() {
            return Err(RestockError::NotFound);
        }
        self.reservations.withdraw(pool, units).await?;
        match self.store.restock(id, delta).await {
            Ok(item) => Ok(item),
            Err(refusal) => {
                if let Err(error) = self.reservations.deposit(pool, units).await {
                    tracing::error!(%pool, units, %error, "units are missing from the ledger until the next start");
                }
                Err(refusal.into())
            }
        }
    }

    /// The database first: what it has, the ledger may promise.
    async fn add(&self, id: ItemId, delta: i32, units: u32) -> Result<Item, RestockError> {
        let item = self.store.restock(id, delta).await?;
        if units > 0 {
            self.reservations.deposit(PoolId::Item(id), units).await.inspect_err(|error| {
                tracing::error!(item = %id, units, %error, "new units are missing from the ledger until the next start");
            })?;
        }
        Ok(item)
    }
}

impl From<WithdrawError> for RestockError {
    fn from(error: WithdrawError) -> Self {
        match error {
            WithdrawError::Insufficient(insufficient) => {
                Self::Insufficient { available: insufficient.available }
            }
            WithdrawError::Engine(error) => Self::Engine(error),
        }
    }
}

impl From<StockError> for RestockError {
    fn from(error: StockError) -> Self {
        match error {
            StockError::NotFound => Self::NotFound,
            StockError::OutOfRange => Self::OutOfRange,
            StockError::Store(error) => Self::Store(error),
        }
    }
}
