//! What may be asked about promos: as everybody sees them, audited, drawn. Changes nothing.

use std::{sync::Arc, time::Duration};

use super::{
    super::{
        audit::Audit,
        catalog::{CatalogError, Page},
        shelf::ShownPromo,
    },
    PromoService,
};
use crate::{
    domain::{DrawKey, PoolId, Promo, PromoId, PromoStage, Timestamp},
    reservation::port::EngineError,
    store::port::StoreError,
};

/// How often an audit reads again while ledger and database move.
const AUDIT_READS: u32 = 5;
/// How long it waits in between.
const AUDIT_PAUSE: Duration = Duration::from_millis(5);

/// The question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskPromoError {
    #[error("there is no such promo")]
    NotFound,
    /// A draft has no stock yet; a draw has no numbers before the opening.
    #[error("the promo has not come that far")]
    TooEarly,
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl PromoService {
    /// The promo; a draft only if `drafts` may be seen.
    pub async fn promo(&self, id: PromoId, drafts: bool) -> Result<Option<ShownPromo>, CatalogError> {
        match self.catalog.promo(id).await? {
            Some(promo) if drafts || promo.stage != PromoStage::Draft => {
                Ok(Some(self.shelf.promo(promo).await))
            }
            _ => Ok(None),
        }
    }

    /// Promos after `after` in ascending order of id, and the cursor of the next page.
    pub async fn promos(
        &self,
        after: Option<PromoId>,
        limit: u32,
        drafts: bool,
    ) -> Result<(Vec<ShownPromo>, Option<PromoId>), CatalogError> {
        let Page { rows, more } = if drafts {
            let rows = self.store.promos(after, limit.saturating_add(1), true).await.map_err(Arc::new)?;
            Page::cut(rows, limit)
        } else {
            self.catalog.promos(after, limit).await?
        };
        let next = rows.last().filter(|_| more).map(|promo| promo.id);
        Ok((self.shelf.promos(&rows).await, next))
    }

    /// A promo that has just been written, as it is shown.
    pub async fn shown(&self, promo: Promo) -> ShownPromo {
        self.shelf.promo(Arc::new(promo)).await
    }

    /// Compares the ledger with the database. Reads again while they move.
    pub async fn audit(&self, id: PromoId) -> Result<Audit, AskPromoError> {
        let promo = self.store.promo(id).await?.ok_or(AskPromoError::NotFound)?;
        if promo.stage == PromoStage::Draft {
            return Err(AskPromoError::TooEarly);
        }
        let mut audit = self.audit_once(id).await?;
        for _ in 1..AUDIT_READS {
            if audit.ok {
                break;
            }
            tokio::time::sleep(AUDIT_PAUSE).await;
            audit = self.audit_once(id).await?;
        }
        if !audit.ok {
            let Audit { ledger, database, .. } = &audit;
            tracing::error!(promo = %id, ?ledger, ?database, "the ledger and the database disagree");
        }
        Ok(audit)
    }

    /// The numbered lobby from place `after + 1` on, at most `limit`, and the cursor of the next page.
    pub async fn draw(
        &self,
        id: PromoId,
        after: u64,
        limit: usize,
        now: Timestamp,
    ) -> Result<(Vec<(u64, DrawKey)>, Option<u64>), AskPromoError> {
        let promo = self.catalog.promo(id).await?;
        let promo = promo.filter(|promo| promo.stage != PromoStage::Draft).ok_or(AskPromoError::NotFound)?;
        if now < promo.starts_at {
            return Err(AskPromoError::TooEarly);
        }
        let mut keys = self.waiting_rooms.draw(id, after, limit.saturating_add(1)).await?;
        let more = keys.len() > limit;
        keys.truncate(limit);
        let places: Vec<_> = (after.saturating_add(1)..).zip(keys).collect();
        let next = places.last().filter(|_| more).map(|(number, _)| *number);
        Ok((places, next))
    }

    async fn audit_once(&self, id: PromoId) -> Result<Audit, AskPromoError> {
        let pool = PoolId::Promo(id);
        let before = self.reservations.snapshot(pool).await?;
        let books = self.orders.books(pool).await?.ok_or(AskPromoError::NotFound)?;
        let after = self.reservations.snapshot(pool).await?;
        Ok(Audit::new(&before, &books, after))
    }
}
