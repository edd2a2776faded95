//! The waiting room as a shopper uses it: join, leave, look.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    admission::port::{JoinError, RoomView, WaitingRooms},
    clock,
    domain::{Epoch, Phase, Promo, PromoId, PromoStatus, Standing, UserId},
    reservation::port::EngineError,
};

use super::catalog::{Catalog, CatalogError};

/// Something about a waiting room could not be done; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("there is no such promo")]
    NotFound,
    #[error("the waiting room is full")]
    Full,
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl From<JoinError> for QueueError {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Full => Self::Full,
            JoinError::Engine(error) => Self::Engine(error),
        }
    }
}

/// What everybody may see of a promo's room: the content of `queue` and `stock` frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomNow {
    pub promo: Arc<Promo>,
    pub status: PromoStatus,
    pub view: RoomView,
    /// Grows with every look of this process.
    look: u64,
}

/// How new a look at a room is. Looks that overlap may end in another order than that in which they saw the room, and
/// nobody is to be shown a head that goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    epoch: Epoch,
    head: u64,
    version: u64,
    look: u64,
}

impl RoomNow {
    pub fn stamp(&self) -> Stamp {
        let RoomView { epoch, head, version, .. } = self.view;
        Stamp { epoch, head, version, look: self.look }
    }
}

/// The waiting rooms of published promos.
pub struct QueueService {
    catalog: Arc<Catalog>,
    rooms: Arc<dyn WaitingRooms>,
    looks: AtomicU64,
}

impl QueueService {
    pub fn new(catalog: Arc<Catalog>, rooms: Arc<dyn WaitingRooms>) -> Self {
        Self { catalog, rooms, looks: AtomicU64::new(0) }
    }

    /// Gives the shopper a place, or returns where they stand already.
    pub async fn join(&self, promo: PromoId, user: UserId) -> Result<Standing, QueueError> {
        let promo = self.published(promo).await?;
        let key = promo.seed.draw_key(promo.id, user);
        Ok(self.rooms.join(promo.id, user, key, clock::now()).await?)
    }

    /// Gives the shopper's place or pass up.
    pub async fn leave(&self, promo: PromoId, user: UserId) -> Result<Standing, QueueError> {
        let promo = self.published(promo).await?;
        Ok(self.rooms.leave(promo.id, user).await?)
    }

    /// What everybody may see of the promo's room right now.
    pub async fn look(&self, promo: PromoId) -> Result<RoomNow, QueueError> {
        let promo = self.published(promo).await?;
        let look = self.looks.fetch_add(1, Ordering::Relaxed);
        let view = self.rooms.view(promo.id).await?;
        Ok(RoomNow { status: promo.status(clock::now()), promo, view, look })
    }

    /// Where the shopper stands in every promo that is live, or ended with orders to pay, if they stand anywhere.
    pub async fn everywhere(&self, user: UserId) -> Result<Vec<Standing>, QueueError> {
        let mut standings = Vec::new();
        let unsettled = self.catalog.unsettled_promos().await?;
        for promo in self.live().await?.into_iter().chain(unsettled.iter().copied()) {
            let found = match self.rooms.standings(promo, &[user]).await {
                // A room that is being recovered must not keep the shopper out of all the others.
                Err(EngineError::NotReady(_)) => continue,
                found => found?,
            };
            let stands = |standing: &Standing| standing.phase != Phase::None || standing.order_id.is_some();
            standings.extend(found.into_iter().filter(stands));
        }
        Ok(standings)
    }

    /// Where these shoppers stand in the promo, in the order asked.
    pub async fn standings(&self, promo: PromoId, users: &[UserId]) -> Result<Vec<Standing>, QueueError> {
        Ok(self.rooms.standings(promo, users).await?)
    }

    /// Notes that these shoppers are connected.
    pub async fn seen(&self, promo: PromoId, users: &[UserId]) -> Result<(), QueueError> {
        Ok(self.rooms.seen(promo, users, clock::now()).await?)
    }

    /// Promos whose waiting room is at work.
    pub async fn live(&self) -> Result<Vec<PromoId>, QueueError> {
        let live = self.catalog.live_promos().await?;
        Ok(live.iter().map(|promo| promo.id).collect())
    }

    async fn published(&self, promo: PromoId) -> Result<Arc<Promo>, QueueError> {
        let promo = self.catalog.promo(promo).await?.ok_or(QueueError::NotFound)?;
        if promo.status(clock::now()) == PromoStatus::Draft { Err(QueueError::NotFound) } else { Ok(promo) }
    }
}
