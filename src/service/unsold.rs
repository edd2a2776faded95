//! What an ended promo has left goes back to its item: at the end, and later whenever an unpaid order lapses.
//!
//! Knows which ended promos may still have something to give back, and derives it from the database at the start, so
//! that a promo that ended under another process, or just before a crash, is not forgotten. Costs nothing when there is none.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;

use crate::{
    domain::{ItemId, PoolId, Promo, PromoId, PromoStage, Timestamp},
    reservation::port::{EngineError, Reservations, Snapshot, WithdrawError},
    store::port::{OrderStore, PromoStore, StoreError},
};

/// Ended promos that are watched at once. More are found again at the next start.
const MAX_WATCHED: usize = 10_000;
/// How long a promo that gave back nothing, or could not, is left alone.
const PAUSE_MS: u64 = 1000;
/// How often a promo is asked whether anything of it can still lapse.
const SETTLED_CHECK_MS: u64 = 10_000;

/// One promo's stock could not be given back now.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps watch over ended promos until the last of their orders is paid or returned.
pub(super) struct Unsold {
    promos: Arc<dyn PromoStore>,
    orders: Arc<dyn OrderStore>,
    reservations: Arc<dyn Reservations>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The database has been searched for promos that ended before this process started.
    scanned: bool,
    live: HashMap<PromoId, ItemId>,
    watched: HashMap<PromoId, Watch>,
}

#[derive(Clone, Copy)]
struct Watch {
    item: ItemId,
    next_look: Timestamp,
    next_settled_check: Timestamp,
}

impl Unsold {
    pub(super) fn new(
        promos: Arc<dyn PromoStore>,
        orders: Arc<dyn OrderStore>,
        reservations: Arc<dyn Reservations>,
    ) -> Self {
        Self { promos, orders, reservations, state: Mutex::default() }
    }

    /// The promo has ended: looks after what it has left.
    pub(super) fn watch(&self, promo: &Promo) {
        self.state.lock().watch(promo.id, promo.item_id);
    }

    /// A promo that was live and is no longer has ended, perhaps under another process.
    pub(super) fn note_live(&self, live: &[Arc<Promo>]) {
        let mut state = self.state.lock();
        let ids: HashSet<PromoId> = live.iter().map(|promo| promo.id).collect();
        let gone: Vec<_> = state.live.extract_if(|id, _| !ids.contains(id)).collect();
        for (id, item) in gone {
            state.watch(id, item);
        }
        state.live.extend(live.iter().map(|promo| (promo.id, promo.item_id)));
    }

    /// Gives back what watched promos have left. Returns whether that was anything.
    pub(super) async fn sweep(&self, now: Timestamp) -> bool {
        if !self.state.lock().scanned {
            match self.scan().await {
                Ok(()) => self.state.lock().scanned = true,
                Err(error) => tracing::warn!(%error, "ended promos cannot be searched for unsold stock"),
            }
        }
        let mut returned = 0;
        for (id, watch) in self.due(now) {
            match self.look(id, watch, now).await {
                Ok(units) => returned += units,
                Err(error) => {
                    tracing::warn!(promo = %id, %error, "unsold stock could not be given back; it will be tried again");
                    self.rest(id, now);
                }
            }
        }
        returned > 0
    }

    /// Finds the ended promos that have units left, or orders that may still lapse.
    async fn scan(&self) -> Result<(), StoreError> {
        let pools = self.orders.pools().await?;
        for id in pools.iter().filter(|row| row.sold < row.initial).filter_map(|row| row.pool.promo()) {
            if let Some(promo) = self.promos.promo(id).await?.filter(|promo| promo.stage == PromoStage::Ended)
            {
                self.watch(&promo);
            }
        }
        for promo in self.promos.unsettled_promos().await? {
            self.watch(&promo);
        }
        Ok(())
    }

    fn due(&self, now: Timestamp) -> Vec<(PromoId, Watch)> {
        let state = self.state.lock();
        state
            .watched
            .iter()
            .filter(|(_, watch)| now >= watch.next_look)
            .map(|(id, watch)| (*id, *watch))
            .collect()
    }

    async fn look(&self, id: PromoId, watch: Watch, now: Timestamp) -> Result<u32, SweepError> {
        let snapshot = self.reservations.snapshot(PoolId::Promo(id)).await?;
        if snapshot.available > 0 {
            let units = self.give_back(id, watch.item, snapshot.available).await?;
            if units == 0 {
                self.rest(id, now);
            }
            // Otherwise the next look is soon: it asks whether that was the last of it.
            return Ok(units);
        }
        self.rest(id, now);
        if now >= watch.next_settled_check && self.is_settled(id, &snapshot).await? {
            self.state.lock().watched.remove(&id);
        }
        Ok(0)
    }

    /// From the promo's ledger to nobody's, from the promo's row to the item's, and then to the item's ledger: at no
    /// instant are there more units in the ledgers than in the database.
    async fn give_back(&self, id: PromoId, item: ItemId, available: u32) -> Result<u32, SweepError> {
        let pool = PoolId::Promo(id);
        let units = match self.withdraw(pool, available).await? {
            0 => return Ok(0),
            units => units,
        };
        let moved = match self.promos.return_stock(id, units).await {
            Ok(moved) => moved.min(units),
            Err(error) => {
                self.deposit(pool, units).await;
                return Err(error.into());
            }
        };
        self.deposit(pool, units - moved).await;
        self.deposit(PoolId::Item(item), moved).await;
        metrics::counter!("panicbuy_units_returned_total").increment(u64::from(moved));
        tracing::info!(promo = %id, %item, units = moved, "unsold stock went back to the item");
        Ok(moved)
    }

    /// Takes `units` out of the pool, or as many as there still are.
    async fn withdraw(&self, pool: PoolId, units: u32) -> Result<u32, EngineError> {
        match self.reservations.withdraw(pool, units).await {
            Ok(()) => Ok(units),
            Err(WithdrawError::Engine(error)) => Err(error),
            // Somebody else took some first; the rest waits for the next look.
            Err(WithdrawError::Insufficient(_)) => Ok(0),
        }
    }

    async fn deposit(&self, pool: PoolId, units: u32) {
        if units == 0 {
            return;
        }
        if let Err(error) = self.reservations.deposit(pool, units).await {
            tracing::error!(%pool, units, %error, "units are missing from the ledger until it is built anew");
        }
    }

    /// Whether nothing of the promo can come back any more. Asked in this order, an order that lapses meanwhile is seen
    /// by the second question if it was missed by the first.
    async fn is_settled(&self, id: PromoId, ledger: &Snapshot) -> Result<bool, StoreError> {
        if ledger.pending > 0 || self.orders.has_unpaid(id).await? {
            return Ok(false);
        }
        let row = self.orders.pool(PoolId::Promo(id)).await?;
        Ok(row.is_none_or(|row| row.sold == row.initial))
    }

    fn rest(&self, id: PromoId, now: Timestamp) {
        if let Some(watch) = self.state.lock().watched.get_mut(&id) {
            watch.next_look = now.plus_millis(PAUSE_MS);
            if now >= watch.next_settled_check {
                watch.next_settled_check = now.plus_millis(SETTLED_CHECK_MS);
            }
        }
    }
}

impl State {
    fn watch(&mut self, id: PromoId, item: ItemId) {
        if self.watched.len() >= MAX_WATCHED && !self.watched.contains_key(&id) {
            tracing::warn!(promo = %id, "too many ended promos have stock left; this one waits for the next start");
            return;
        }
        let watch = Watch { item, next_look: Timestamp::default(), next_settled_check: Timestamp::default() };
        self.watched.insert(id, watch);
    }
}
