//! What shoppers see: items and promos together with what is available of them right now.
//!
//! Knows the catalogue (seconds old) and the ledger (exact). Decides nothing.

use std::sync::Arc;

use futures_util::future::join_all;

use super::catalog::{Catalog, CatalogError};
use crate::{
    domain::{Item, PoolId, Promo, PromoStage, Timestamp},
    reservation::port::{Reservations, Snapshot},
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
    /// What the item's own pool has not sold: from its ledger, or while that is being recovered, as the catalogue has it.
    pub stock: u32,
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
        let units = self.units(PoolId::Item(item.id)).await;
        let stock = units.map_or(item.stock, |units| units.initial - units.sold);
        let available = units.map(|units| units.available);
        let promo = match self.catalog.current_promo(item.id, now).await? {
            Some(promo) => Some(self.promo(promo).await),
            None => None,
        };
        Ok(ShownItem { item, stock, available, promo })
    }

    /// A page of items; at most a hundred, so all ledgers may be asked at once.
    pub async fn items(&self, items: &[Arc<Item>], now: Timestamp) -> Result<Vec<ShownItem>, CatalogError> {
        join_all(items.iter().map(|item| self.item(Arc::clone(item), now))).await.into_iter().collect()
    }

    pub async fn promo(&self, promo: Arc<Promo>) -> ShownPromo {
        let available = match promo.stage {
            // The units are still the item's.
            PromoStage::Draft => Some(0),
            _ => self.units(PoolId::Promo(promo.id)).await.map(|units| units.available),
        };
        ShownPromo { promo, available }
    }

    /// A page of promos; at most a hundred.
    pub async fn promos(&self, promos: &[Arc<Promo>]) -> Vec<ShownPromo> {
        join_all(promos.iter().map(|promo| self.promo(Arc::clone(promo)))).await
    }

    async fn units(&self, pool: PoolId) -> Option<Snapshot> {
        match self.reservations.snapshot(pool).await {
            Ok(snapshot) => Some(snapshot),
            Err(error) => {
                tracing::debug!(%pool, %error, "stock is shown as unknown");
                None
            }
        }
    }
}
