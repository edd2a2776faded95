//! The engine on Redis: every pool's ledger and waiting room in one slot, every change of them one script.
//!
//! Nothing here decides anything about stock or places: [`scripts`](../scripts) do, and must answer as the pure machines do
//! ([`super::pool`]), which `tests/system/model.rs` demands. Knows how a call is encoded, sent and decoded ([`call`],
//! [`wire`]), which calls share one ([`batcher`], [`batches`]), under which epoch ([`epochs`]), and what cannot be in one step with a
//! pool ([`index`]). Must not know sockets, logs or databases.

mod batcher;
mod batches;
mod call;
mod epochs;
mod index;
mod ledgers;
mod open;
mod rooms;
mod scripts;
mod wire;

use std::sync::Arc;

use tokio::sync::Notify;

pub use self::epochs::{EpochError, EpochSource};
use self::{
    batcher::Batcher,
    batches::{Joining, Looking, Marking, Reserving, Standings},
    call::Caller,
    epochs::Epochs,
    index::Index,
};
use crate::{redis::Redis, results::redis::Followed};

/// The bounds of the engine.
#[derive(Clone, Debug)]
pub struct RedisEngineSettings {
    /// How long a repeated `request_id` is recognised without asking the database.
    pub request_memory_ms: u64,
    /// Orders, and joins and questions, of one pool that wait for a call; more of a kind are refused at once.
    pub max_waiting: usize,
    /// Where the engine says which promos this process acts on; without it, the first news of a promo may be lost.
    pub followed: Option<Arc<Followed>>,
}

impl Default for RedisEngineSettings {
    fn default() -> Self {
        Self { request_memory_ms: 3_600_000, max_waiting: 20_000, followed: None }
    }
}

/// All pools of a shop.
pub struct RedisEngine {
    request_memory_ms: u64,
    caller: Arc<Caller>,
    index: Arc<Index>,
    reserving: Batcher<Reserving>,
    joining: Batcher<Joining>,
    looking: Batcher<Looking>,
    standings: Batcher<Standings>,
    marking: Batcher<Marking>,
}

impl RedisEngine {
    /// `epochs`: knows which epoch the ledger of each pool must have.
    pub fn new(redis: Redis, epochs: Arc<dyn EpochSource>, settings: &RedisEngineSettings) -> Self {
        let index = Arc::new(Index::new(redis.clone(), settings.request_memory_ms));
        let caller =
            Arc::new(Caller { redis, epochs: Epochs::new(epochs), followed: settings.followed.clone() });
        let reserving = Reserving { caller: Arc::clone(&caller), index: Arc::clone(&index) };
        let joining = Joining { caller: Arc::clone(&caller) };
        let looking = Looking { caller: Arc::clone(&caller) };
        let standings = Standings { caller: Arc::clone(&caller) };
        let marking = Marking { caller: Arc::clone(&caller) };
        Self {
            request_memory_ms: settings.request_memory_ms,
            reserving: Batcher::new(reserving, settings.max_waiting),
            joining: Batcher::new(joining, settings.max_waiting),
            looking: Batcher::new(looking, settings.max_waiting),
            standings: Batcher::new(standings, settings.max_waiting),
            marking: Batcher::new(marking, settings.max_waiting),
            caller,
            index,
        }
    }

    /// Rung when a call finds a ledger missing: recovery should look at once.
    pub fn lost_bell(&self) -> Arc<Notify> {
        self.caller.epochs.lost_bell()
    }
}

#[cfg(test)]
mod tests;
