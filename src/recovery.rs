//! Builds the ledgers and waiting rooms from the database, once the order log is drained.

use crate::{
    admission::port::WaitingRooms,
    domain::{PoolId, PromoStage, Timestamp},
    reservation::port::{EngineError, Opening, Reservations},
    service::promo::{RoomLimits, gate},
    store::port::{OrderStore, PoolRow, PromoStore, StoreError},
};

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
            gate: promo.as_ref().map(gate),
            orders: known,
        };
        reservations.open(pool, opening).await?;
        if let Some(promo) = promo {
            rooms.open_room(promo.id, limits.room(&promo)).await?;
        }
    }
    Ok(opened)
}
