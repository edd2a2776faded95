//! Builds the ledgers and waiting rooms from the database, once the order log is drained.

use crate::{
    admission::port::{RoomSettings, WaitingRooms},
    domain::{PoolId, Promo, PromoStage, Timestamp},
    reservation::port::{EngineError, Gate, Opening, Reservations},
    store::port::{OrderStore, PoolRow, PromoStore, StoreError},
};

/// The bounds of a waiting room that are the server's, not the promo's.
#[derive(Clone, Copy, Debug)]
pub struct RoomLimits {
    /// See [`RoomSettings::grace_ms`].
    pub grace_ms: u64,
    /// See [`RoomSettings::max_unsettled`].
    pub max_unsettled: u32,
    /// See [`RoomSettings::max_places`].
    pub max_places: u32,
}

impl RoomLimits {
    /// The settings of a promo's room.
    pub fn room_of(&self, promo: &Promo) -> RoomSettings {
        let Self { grace_ms, max_unsettled, max_places } = *self;
        RoomSettings { admission: promo.admission, grace_ms, max_unsettled, max_places }
    }
}

/// When a promo's pool takes orders, by what is stored of it.
pub fn gate_of(promo: &Promo) -> Gate {
    Gate {
        starts_at: promo.starts_at,
        ends_at: promo.ends_at,
        paused: promo.stage == PromoStage::Paused,
        ended: promo.stage == PromoStage::Ended,
    }
}

/// A pool could not be built; none may be used.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Opens every pool the database has, and the waiting room of every live promo. Returns how many pools it opened.
/// `requests_since`: repeated requests are recognised back to then.
pub async fn open_pools(
    orders: &dyn OrderStore,
    promos: &dyn PromoStore,
    reservations: &dyn Reservations,
    rooms: &dyn WaitingRooms,
    limits: RoomLimits,
    requests_since: Timestamp,
) -> Result<usize, RecoveryError> {
    let rows = orders.pools().await?;
    let opened = rows.len();
    for row in rows {
        let promo = match row.pool {
            PoolId::Promo(id) => promos.promo(id).await?,
            PoolId::Item(_) => None,
        };
        let live = promo.as_ref().is_some_and(|promo| promo.stage != PromoStage::Ended);
        let known = orders.opening_orders(row.pool, live, requests_since).await?;
        let PoolRow { pool, initial, sold } = row;
        let opening = Opening {
            initial,
            sold,
            per_user_limit: promo.as_ref().map(|promo| promo.per_user_limit),
            gate: promo.as_ref().map(gate_of),
            orders: known,
        };
        reservations.open(pool, opening).await?;
        if let Some(promo) = promo {
            rooms.open_room(promo.id, limits.room_of(&promo)).await?;
        }
    }
    Ok(opened)
}
