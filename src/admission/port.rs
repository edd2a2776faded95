//! What the system asks of an admission engine.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{Admission, DrawKey, Epoch, PromoId, SeedCommit, Standing, Timestamp, UserId},
    reservation::port::EngineError,
};

/// What a waiting room is built from. Its gate and stock are its pool's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomSettings {
    /// Names the draw: no other room has the same.
    pub draw: SeedCommit,
    pub admission: Admission,
    /// How long a called shopper may be away before the place is passed over.
    pub grace_ms: u64,
    /// Passes are held back while this many reservations are unsettled.
    pub max_unsettled: u32,
    /// Places at most, waiting or left behind.
    pub max_places: u32,
}

/// What a room shows to everybody: the fields of a `queue` and a `stock` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomView {
    /// Of the ledger behind it. All else may start anew when it grows.
    pub epoch: Epoch,
    /// Who joined before the start; does not change after the opening.
    pub lobby: u64,
    /// Places called so far.
    pub head: u64,
    /// Shoppers who hold a place that is not called yet, or was passed over and is claimed again.
    pub waiting: u64,
    /// Live passes.
    pub active: u64,
    pub rate_per_s: u32,
    pub paused: bool,
    pub available: u32,
    pub version: u64,
}

/// What the order log can do with the orders that passes lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogState {
    /// It takes orders, and they are settled in time.
    Ready,
    /// It takes orders, but too many wait in it: nobody is called until it has caught up.
    Behind,
    /// It takes no orders: nobody is called, and room time stands still, so that nobody loses a pass to an outage.
    Down,
}

impl LogState {
    /// The word for logs and scripts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Behind => "behind",
            Self::Down => "down",
        }
    }
}

/// What one tick changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ticked {
    /// The lobby was numbered just now: every shopper in the room has news.
    pub opened: bool,
    /// Live passes end later than was told, because room time stood still: every shopper in the room has news.
    pub passes_moved: bool,
    /// The new standing of every shopper whose phase changed otherwise.
    pub changed: Vec<Standing>,
    /// One tick does a bounded amount of work. There is more to do: tick again at once.
    pub more: bool,
}

/// A join that changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("the waiting room is full")]
    Full,
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The waiting rooms of all promos. Every call is atomic per promo.
#[async_trait]
pub trait WaitingRooms: Send + Sync {
    /// Opens a promo's room; its pool must be open. Replaces what was there.
    async fn open_room(&self, promo: PromoId, settings: RoomSettings) -> Result<(), EngineError>;

    /// Changes rate, bound and pass time of a room that runs.
    async fn configure(&self, promo: PromoId, admission: Admission) -> Result<(), EngineError>;

    /// Gives the shopper a place, or returns the one they have. `key` decides the order of the lobby.
    async fn join(
        &self,
        promo: PromoId,
        user: UserId,
        key: DrawKey,
        now: Timestamp,
    ) -> Result<Standing, JoinError>;

    /// Gives up the shopper's place or pass.
    async fn leave(&self, promo: PromoId, user: UserId) -> Result<Standing, EngineError>;

    /// Notes that these shoppers are connected; a passed-over place of theirs is claimed again.
    async fn seen(&self, promo: PromoId, users: &[UserId], now: Timestamp) -> Result<(), EngineError>;

    /// Lets time act: numbers the lobby at the opening, lapses passes, calls places as far as `log` lets, and tells the shoppers.
    async fn tick(&self, promo: PromoId, now: Timestamp, log: LogState) -> Result<Ticked, EngineError>;

    /// Where these shoppers stand, in the order asked.
    async fn standings(&self, promo: PromoId, users: &[UserId]) -> Result<Vec<Standing>, EngineError>;

    /// What the room shows to everybody.
    async fn view(&self, promo: PromoId) -> Result<RoomView, EngineError>;

    /// The numbered lobby's keys in ascending order, from place `after + 1` on, at most `limit`.
    async fn draw(&self, promo: PromoId, after: u64, limit: usize) -> Result<Vec<DrawKey>, EngineError>;
}
