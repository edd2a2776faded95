//! What the system asks of a reservation engine, and the words of its answers.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::{
    Epoch, ItemId, OrderId, OrderStatus, PoolId, Price, Reason, RequestId, Timestamp, UserId, Verdict,
};

/// Units deducted from a pool for an order that is not settled yet, with everything needed to log it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    pub order_id: OrderId,
    pub request_id: RequestId,
    pub user_id: UserId,
    pub pool: PoolId,
    pub item_id: ItemId,
    pub quantity: u32,
    /// Of one unit.
    #[serde(rename = "price_minor")]
    pub price: Price,
    pub payment_window_ms: u64,
    pub reserved_at: Timestamp,
    /// The ledger that holds the units. Set by the engine that reserves.
    #[serde(default)]
    pub epoch: Epoch,
}

/// The answer to one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reserved {
    /// The units are held. The caller must log the reservation before it tells the shopper.
    Held(Reservation),
    /// The same shopper and `request_id` were seen before. `Some` while the order is not known to be in the log: the
    /// caller logs it again before it tells the shopper.
    Repeated { order_id: OrderId, unlogged: Option<Reservation> },
    /// Nothing was taken.
    Refused(Reason),
}

/// A reservation that has just been settled, for the first and only time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub reservation: Reservation,
    pub verdict: Verdict,
    /// The shopper has not heard "accepted" yet, and must before they hear the outcome.
    pub answer_deferred: bool,
}

/// An order that an earlier request of the same name was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repeat {
    pub order_id: OrderId,
    pub pool: PoolId,
    /// `Some` while the order is not known to be in the log.
    pub unlogged: Option<Reservation>,
}

/// How a posted order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The units are the shopper's for good.
    Paid,
    /// The units return to the pool.
    Cancelled,
    /// The units return to the pool.
    Expired,
}

impl Closing {
    /// The status the order has from now on.
    pub fn status(self) -> OrderStatus {
        match self {
            Self::Paid => OrderStatus::Paid,
            Self::Cancelled => OrderStatus::Cancelled,
            Self::Expired => OrderStatus::Expired,
        }
    }
}

/// What closing an order did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It was closed just now.
    Now,
    /// It was closed before, or is not known: nothing changed.
    Before,
    /// Its verdict has not reached the ledger yet: nothing changed, try again after it has.
    NotSettled,
}

/// A pool's units, at one instant. Always `initial = available + pending + sold`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub initial: u32,
    pub available: u32,
    pub pending: u32,
    pub sold: u32,
    /// Units promised to shoppers who hold a live pass, one each.
    pub holds: u32,
    /// Grows with every change of the pool.
    pub version: u64,
}

/// When a pool takes orders. An item's own pool is always open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub paused: bool,
    pub ended: bool,
}

/// A pool as the database and the drained log have it, to build its ledger from.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The ledger's own from now on; above that of any ledger the pool had before.
    pub epoch: Epoch,
    pub initial: u32,
    pub sold: u32,
    /// Units one shopper may hold in live orders; `None` for an item's own pool.
    pub per_user_limit: Option<u32>,
    pub gate: Option<Gate>,
    /// The orders the ledger must still know, oldest first.
    pub orders: Vec<OpeningOrder>,
}

/// One order in an [`Opening`].
#[derive(Clone, Debug)]
pub struct OpeningOrder {
    pub order_id: OrderId,
    pub request_id: RequestId,
    pub user_id: UserId,
    pub quantity: u32,
    pub status: OrderStatus,
    pub reason: Option<Reason>,
    pub created_at: Timestamp,
}

/// The pool has fewer units available than were to be withdrawn; nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only {available} units are available")]
pub struct Insufficient {
    pub available: u32,
}

/// The engine does not answer, or does not know the pool (yet).
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the pool {0} is not ready")]
    NotReady(PoolId),
    /// It did not happen.
    #[error("the engine does not answer: {0}")]
    Unavailable(String),
    /// Nobody knows whether it happened.
    #[error("the engine's answer was lost: {0}")]
    Unsure(String),
}

/// A withdrawal failed and took nothing.
#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    #[error(transparent)]
    Insufficient(#[from] Insufficient),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The stock of every pool, in memory that answers at once. Every call is atomic per pool, and what shoppers are to hear of
/// it goes to [`crate::results`] in the same step.
#[async_trait]
pub trait Reservations: Send + Sync {
    /// Builds the pool's ledger anew. Replaces what was there, unless that is of a later epoch.
    async fn open(&self, pool: PoolId, opening: Opening) -> Result<(), EngineError>;

    /// Which of these pools have no ledger of that epoch, or have lost it.
    async fn lost(&self, known: &[(PoolId, Epoch)]) -> Result<Vec<PoolId>, EngineError>;

    /// Changes when the pool takes orders, and tells the shoppers if it was paused or goes on.
    async fn set_gate(&self, pool: PoolId, gate: Gate) -> Result<(), EngineError>;

    /// Checks and deducts, in the contract's order of reasons. A promo's order uses up the shopper's pass, and the
    /// shopper is told that it is pending.
    async fn reserve(&self, order: Reservation) -> Result<Reserved, EngineError>;

    /// The order that this request of the shopper's became before, in whatever pool.
    async fn find(&self, user: UserId, request: RequestId) -> Result<Option<Repeat>, EngineError>;

    /// Leaves it to whoever tells the outcome to say "accepted" first. `false`: the order is settled already.
    async fn defer_answer(&self, pool: PoolId, order: OrderId) -> Result<bool, EngineError>;

    /// Notes that the reservations are in the order log.
    async fn logged(&self, pool: PoolId, orders: &[OrderId]) -> Result<(), EngineError>;

    /// Applies the writer's verdicts and tells the shoppers their outcomes; returns those that were not applied before.
    async fn settle(
        &self,
        pool: PoolId,
        verdicts: &[(OrderId, Verdict)],
    ) -> Result<Vec<Settled>, EngineError>;

    /// Closes a posted order, giving its units back unless it was paid, and tells the shopper.
    async fn close(&self, pool: PoolId, order: OrderId, how: Closing) -> Result<Closed, EngineError>;

    /// Adds fresh units to the pool.
    async fn deposit(&self, pool: PoolId, units: u32) -> Result<(), EngineError>;

    /// Takes units out of the pool that nobody holds and that stand behind nobody's pass.
    async fn withdraw(&self, pool: PoolId, units: u32) -> Result<(), WithdrawError>;

    /// The pool's units right now.
    async fn snapshot(&self, pool: PoolId) -> Result<Snapshot, EngineError>;

    /// A reservation of this shopper that is not settled yet, by its order.
    async fn pending(&self, user: UserId, order: OrderId) -> Result<Option<Reservation>, EngineError>;

    /// Every reservation of this shopper that is not settled yet, oldest first.
    async fn pending_of(&self, user: UserId) -> Result<Vec<Reservation>, EngineError>;

    /// At most `limit` unsettled reservations for the relay: those made before `unlogged_before` that are not known to be
    /// in the log, and those made before `logged_before` that are, but should have been settled long ago.
    async fn overdue(
        &self,
        unlogged_before: Timestamp,
        logged_before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Reservation>, EngineError>;
}
