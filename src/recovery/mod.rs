//! Recovery: ledgers and waiting rooms are built from the database, the last word on what was sold.
//!
//! [`open_pools`] builds all of them at the start of an embedded process, once the order log is drained. [`keeper`] watches
//! over ledgers that live on a server: it builds anew what was lost there, and compares what is there with the database.
//! Knows the ports; knows no engine.

pub mod keeper;

use crate::{
    admission::port::WaitingRooms,
    clock,
    domain::{PoolId, Promo, PromoStage, Timestamp},
    reservation::port::{EngineError, Opening, OpeningOrder, Reservations},
    service::promo::{RoomLimits, gate},
    store::port::{PoolRow, Store, StoreError},
};

/// A pool could not be built.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Log(#[from] crate::order_log::port::LogError),
}

/// What ledgers and rooms are built with besides the database.
#[derive(Clone, Copy, Debug)]
pub struct RecoveryLimits {
    pub rooms: RoomLimits,
    /// How far back repeated requests are recognised.
    pub request_memory_ms: u64,
}

impl RecoveryLimits {
    fn requests_since(self) -> Timestamp {
        clock::now().minus_millis(self.request_memory_ms)
    }
}

/// Opens every pool the database has, and the waiting room of every promo. Returns how many pools it opened.
pub async fn open_pools(
    store: &dyn Store,
    reservations: &dyn Reservations,
    rooms: &dyn WaitingRooms,
    limits: RecoveryLimits,
) -> Result<usize, RecoveryError> {
    let rows = store.pools().await?;
    let opened = rows.len();
    for row in rows {
        let promo = promo_of(store, row.pool).await?;
        let known =
            store.opening_orders(row.pool, knows_all(promo.as_ref()), limits.requests_since()).await?;
        open(row, promo.as_ref(), known, reservations, rooms, limits).await?;
    }
    Ok(opened)
}

/// Opens one pool as the database has it, and its waiting room if it is a promo's.
async fn open(
    row: PoolRow,
    promo: Option<&Promo>,
    orders: Vec<OpeningOrder>,
    reservations: &dyn Reservations,
    rooms: &dyn WaitingRooms,
    limits: RecoveryLimits,
) -> Result<(), EngineError> {
    let PoolRow { pool, initial, sold, epoch } = row;
    let opening = Opening {
        epoch,
        initial,
        sold,
        per_user_limit: promo.map(|promo| promo.per_user_limit),
        gate: promo.map(gate),
        orders,
    };
    reservations.open(pool, opening).await?;
    if let Some(promo) = promo {
        rooms.open_room(promo.id, limits.rooms.room(promo)).await?;
    }
    Ok(())
}

async fn promo_of(store: &dyn Store, pool: PoolId) -> Result<Option<Promo>, StoreError> {
    match pool {
        PoolId::Promo(id) => store.promo(id).await,
        PoolId::Item(_) => Ok(None),
    }
}

/// The ledger of a promo that still sells must know every order of it, for its limit.
fn knows_all(promo: Option<&Promo>) -> bool {
    promo.is_some_and(|promo| promo.stage != PromoStage::Ended)
}
