//! Promos: drafts, and their life from publication to the end.
//!
//! Knows that a stage lives in the database and its effect in two engines (the ledger's gate, the waiting room), and in
//! which order to change them. What may be asked is [`ask`]; what happens to stock that an ended promo has left is
//! [`super::unsold`].

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{catalog::Catalog, shelf::Shelf, to_the_end, unsold::Unsold};
use crate::{
    admission::{
        port::{LogState, RoomSettings, WaitingRooms},
        ticker,
    },
    domain::{Admission, Epoch, NewPromo, PoolId, Promo, PromoId, PromoStage, Timestamp},
    reservation::port::{EngineError, Gate, Insufficient, Opening, Reservations, WithdrawError},
    store::port::{OrderStore, PromoStore, StageError, StoreError},
};

mod ask;

pub use ask::AskPromoError;

/// The part of every waiting room's settings that is the server's and not the promo's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomLimits {
    pub grace_ms: u64,
    pub max_unsettled: u32,
    pub max_places: u32,
}

impl RoomLimits {
    /// The settings of the promo's room.
    pub fn room(self, promo: &Promo) -> RoomSettings {
        RoomSettings {
            draw: promo.seed.commit(),
            admission: promo.admission,
            grace_ms: self.grace_ms,
            max_unsettled: self.max_unsettled,
            max_places: self.max_places,
        }
    }
}

/// When the promo's pool takes orders.
pub fn gate(promo: &Promo) -> Gate {
    Gate {
        starts_at: promo.starts_at,
        ends_at: promo.ends_at,
        paused: promo.stage == PromoStage::Paused,
        ended: promo.stage == PromoStage::Ended,
    }
}

/// A change of the admission settings: only what is `Some` changes.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmissionPatch {
    pub rate_per_s: Option<u32>,
    pub max_active: Option<u32>,
    pub pass_ttl_ms: Option<u64>,
}

/// No draft was made.
#[derive(Debug, thiserror::Error)]
pub enum CreatePromoError {
    #[error("there is no such item")]
    NoSuchItem,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The promo's stage is as it was.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    #[error(transparent)]
    Stage(#[from] StageError),
    /// The promo would be over before it is published.
    #[error("the promo's time is over")]
    Over,
    #[error("the item has not enough stock: {0}")]
    NotEnoughStock(Insufficient),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What administrators do with promos, everybody's view of them, and what time does to them.
pub struct PromoService {
    store: Arc<dyn PromoStore>,
    orders: Arc<dyn OrderStore>,
    reservations: Arc<dyn Reservations>,
    waiting_rooms: Arc<dyn WaitingRooms>,
    catalog: Arc<Catalog>,
    shelf: Shelf,
    unsold: Unsold,
    rooms: RoomLimits,
    /// One change of a stage at a time, so that database and gate change in the same order.
    changing: Mutex<()>,
}

impl PromoService {
    pub fn new(
        store: Arc<dyn PromoStore>,
        orders: Arc<dyn OrderStore>,
        reservations: Arc<dyn Reservations>,
        waiting_rooms: Arc<dyn WaitingRooms>,
        catalog: Arc<Catalog>,
        rooms: RoomLimits,
    ) -> Self {
        let shelf = Shelf::new(Arc::clone(&catalog), Arc::clone(&reservations));
        let unsold = Unsold::new(Arc::clone(&store), Arc::clone(&orders), Arc::clone(&reservations));
        Self {
            store,
            orders,
            reservations,
            waiting_rooms,
            catalog,
            shelf,
            unsold,
            rooms,
            changing: Mutex::new(()),
        }
    }

    /// Makes a draft.
    pub async fn create(&self, promo: NewPromo, now: Timestamp) -> Result<Promo, CreatePromoError> {
        let created = self.store.create_promo(&promo, now).await?.ok_or(CreatePromoError::NoSuchItem)?;
        self.catalog.changed();
        Ok(created)
    }

    /// Moves the draft's stock out of the item's and opens lobby and pool. Published already: changes nothing.
    pub async fn publish(self: &Arc<Self>, id: PromoId, now: Timestamp) -> Result<Promo, LifecycleError> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let _changing = this.changing.lock().await;
            let published = this.publish_alone(id, now).await;
            this.catalog.changed();
            published
        })
        .await
    }

    /// Holds the promo: no passes, no orders. Paused already: changes nothing.
    pub async fn pause(self: &Arc<Self>, id: PromoId) -> Result<Promo, LifecycleError> {
        self.change_stage(id, &[PromoStage::Published], PromoStage::Paused).await
    }

    /// Lets a paused promo go on. Not paused: changes nothing.
    pub async fn resume(self: &Arc<Self>, id: PromoId) -> Result<Promo, LifecycleError> {
        self.change_stage(id, &[PromoStage::Paused], PromoStage::Published).await
    }

    /// Ends the promo and gives its unsold stock back to the item. Ended already: changes nothing.
    pub async fn end(self: &Arc<Self>, id: PromoId, now: Timestamp) -> Result<Promo, LifecycleError> {
        let promo =
            self.change_stage(id, &[PromoStage::Published, PromoStage::Paused], PromoStage::Ended).await?;
        self.unsold.watch(&promo);
        self.return_unsold(now).await;
        Ok(promo)
    }

    /// Changes the waiting room, also while it runs.
    pub async fn set_admission(
        self: &Arc<Self>,
        id: PromoId,
        patch: AdmissionPatch,
    ) -> Result<Promo, LifecycleError> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let _changing = this.changing.lock().await;
            let promo = this.stored(id).await?;
            if promo.stage == PromoStage::Ended {
                return Err(StageError::WrongStage(promo.stage).into());
            }
            let current = promo.admission;
            let admission = Admission {
                rate_per_s: patch.rate_per_s.unwrap_or(current.rate_per_s),
                max_active: patch.max_active.unwrap_or(current.max_active),
                pass_ttl_ms: patch.pass_ttl_ms.unwrap_or(current.pass_ttl_ms),
            };
            let stored = this.store.set_admission(id, admission).await.map_err(StageError::Store)?;
            let promo = stored.ok_or(StageError::NotFound)?;
            this.catalog.changed();
            if promo.stage != PromoStage::Draft {
                this.waiting_rooms.configure(id, admission).await?;
            }
            Ok(promo)
        })
        .await
    }

    /// Lets time act: ends the promos whose time is over, and gives back what ended ones have left. To be called a few
    /// times a second by one task.
    pub async fn act_on_time(self: &Arc<Self>, now: Timestamp) {
        let live = match self.catalog.live_promos().await {
            Ok(live) => live,
            Err(error) => {
                tracing::warn!(%error, "the live promos cannot be read; none is ended on time");
                return;
            }
        };
        for promo in live.iter().filter(|promo| now >= promo.ends_at) {
            if let Err(error) = self.end(promo.id, now).await {
                tracing::warn!(promo = %promo.id, %error, "a promo could not be ended; it will be tried again");
            }
        }
        self.unsold.note_live(&live);
        self.return_unsold(now).await;
    }

    async fn return_unsold(self: &Arc<Self>, now: Timestamp) {
        let this = Arc::clone(self);
        if to_the_end(async move { this.unsold.sweep(now).await }).await {
            self.catalog.changed();
        }
    }

    async fn publish_alone(&self, id: PromoId, now: Timestamp) -> Result<Promo, LifecycleError> {
        let draft = self.stored(id).await?;
        match draft.stage {
            PromoStage::Draft if now >= draft.ends_at => return Err(LifecycleError::Over),
            PromoStage::Draft => {}
            PromoStage::Published => return Ok(draft),
            stage => return Err(StageError::WrongStage(stage).into()),
        }
        let item = PoolId::Item(draft.item_id);
        self.reservations.withdraw(item, draft.stock).await?;
        let promo = match self.store.publish_promo(id, now).await {
            Ok(promo) => promo,
            Err(refusal) => {
                if let Err(error) = self.reservations.deposit(item, draft.stock).await {
                    let units = draft.stock;
                    tracing::error!(pool = %item, units, %error, "units are missing from the ledger until it is built anew");
                }
                return Err(refusal.into());
            }
        };
        self.open(&promo).await.inspect_err(|error| {
            tracing::error!(promo = %id, %error, "a promo is published, and is opened as soon as its ledger is missed");
        })?;
        metrics::counter!("panicbuy_promos_published_total").increment(1);
        Ok(promo)
    }

    async fn open(&self, promo: &Promo) -> Result<(), EngineError> {
        let opening = Opening {
            epoch: Epoch::default(),
            initial: promo.stock,
            sold: 0,
            per_user_limit: Some(promo.per_user_limit),
            gate: Some(gate(promo)),
            orders: Vec::new(),
        };
        self.reservations.open(PoolId::Promo(promo.id), opening).await?;
        self.waiting_rooms.open_room(promo.id, self.rooms.room(promo)).await
    }

    async fn change_stage(
        self: &Arc<Self>,
        id: PromoId,
        from: &'static [PromoStage],
        to: PromoStage,
    ) -> Result<Promo, LifecycleError> {
        let this = Arc::clone(self);
        to_the_end(async move {
            let _changing = this.changing.lock().await;
            let before = this.stored(id).await?.stage;
            let promo = this.store.set_stage(id, from, to).await?;
            this.catalog.changed();
            // Also if nothing changed in the database: the last attempt may have come no further than that.
            this.reservations.set_gate(PoolId::Promo(id), gate(&promo)).await?;
            if before != promo.stage {
                tracing::info!(promo = %id, from = before.as_str(), to = to.as_str(), "a promo changed its stage");
            }
            if promo.stage == PromoStage::Ended {
                // Sends everybody home who still waits, or begins to: the gateways' tickers do the rest of a large room.
                ticker::tick(this.waiting_rooms.as_ref(), id, || LogState::Ready).await?;
            }
            Ok(promo)
        })
        .await
    }

    async fn stored(&self, id: PromoId) -> Result<Promo, StageError> {
        self.store.promo(id).await?.ok_or(StageError::NotFound)
    }
}

impl From<WithdrawError> for LifecycleError {
    fn from(error: WithdrawError) -> Self {
        match error {
            WithdrawError::Insufficient(insufficient) => Self::NotEnoughStock(insufficient),
            WithdrawError::Engine(error) => Self::Engine(error),
        }
    }
}
