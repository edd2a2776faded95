//! What shoppers see: items and promos together with what is available of them right now.
//!
//! Knows the catalogue (seconds old) and the ledger (exact). Decides nothing.

use std::sync::Arc;

use futures_util::future::join_all;

use super::catalog::{Catalog, CatalogError};
use crate::{
    domain::{Item, PoolId, Promo, PromoStage, Timestamp},
    reservation::port::Reservations,
};

/// A promo as it is shown.
#[derive(Clone, Debug)]
pub struct ShownPromo {
    pub promo: Arc<Promo>,
    /// `None` while the stock is being recovered.
    pub available: Option<u32>,
}

/// An item as it is shown.
#[derive(Clone, Debug)]
pub struct ShownItem {
    pub item: Arc<Item>,
    /// Of the item's own pool. `None` while the stock is being recovered.
    pub available: Option<u32>,
    /// The ongoing promo, or else the next one.
    pub promo: Option<ShownPromo>,
}

/// Puts items and promos beside their stock.
#[derive(Clone)]
pub struct Shelf {
    catalog: Arc<Catalog>,
    reservations: Arc<dyn Reservations>,
}

impl Shelf {
    pub fn new(catalog: Arc<Catalog>, reservations: Arc<dyn Reservations>) -> Self {
        Self { catalog, reservations }
    }

    pub async fn item(&self, item: Arc<Item>, now: Timestamp) -> Result<ShownItem, CatalogError> {
        let available = self.available(PoolId::Item(item.id)).await;
        let promo = match self.catalog.current_promo(item.id, now).await? {
            Some(promo) => Some(self.promo(promo).await),
            None => None,
        };
        Ok(ShownItem { item, available, promo })
    }

    /// A page of items; at most a hundred, so all ledgers may be asked at once.
    pub async fn items(&self, items: &[Arc<Item>], now: Timestamp) -> Result<Vec<ShownItem>, CatalogError> {
        join_all(items.iter().map(|item| self.item(Arc::clone(item), now))).await.into_iter().collect()
    }

    pub async fn promo(&self, promo: Arc<Promo>) -> ShownPromo {
        let available = match promo.stage {
            // The units are still the item's.
            PromoStage::Draft => Some(0),
            _ => self.available(PoolId::Promo(promo.id)).await,
        };
        ShownPromo { promo, available }
    }

    /// A page of promos; at most a hundred.
    pub async fn promos(&self, promos: &[Arc<Promo>]) -> Vec<ShownPromo> {
        join_all(promos.iter().map(|promo| self.promo(Arc::clone(promo)))).await
    }

    async fn available(&self, pool: PoolId) -> Option<u32> {
        match self.reservations.snapshot(pool).await {
            Ok(snapshot) => Some(snapshot.available),
            Err(error) => {
                tracing::debug!(%pool, %error, "stock is shown as unknown");
                None
            }
        }
    }
}
