//! What the system asks of an order log.

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    domain::{OrderId, PoolId, Timestamp},
    reservation::port::Reservation,
};

/// The log did not do what was asked. An append that failed may or may not be in the log: append it again.
#[derive(Debug, thiserror::Error)]
#[error("the order log failed: {0}")]
pub struct LogError(pub String);

/// One record as the writer reads it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Grows along the log.
    pub position: i64,
    pub record: Result<Reservation, Poison>,
}

/// A record that cannot be read, or can never succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    pub payload: String,
    pub reason: String,
    /// The order it was about, as far as that could be read, so that it can be settled as rejected.
    pub order: Option<(PoolId, OrderId)>,
}

/// The end of the log that orders go into.
#[async_trait]
pub trait OrderLog: Send + Sync {
    /// Appends the reservation; returns once it is durable. Twice is harmless.
    async fn append(&self, reservation: &Reservation) -> Result<(), LogError>;

    /// Whether the log took what it was last given. It finds out by itself when it is well again.
    fn is_well(&self) -> bool;
}

/// The end of the log that the order writer reads.
#[async_trait]
pub trait OrderLogReader: Send + Sync {
    /// The next records, at most `limit`. Waits up to `wait` for the first; empty if none came.
    async fn read(&mut self, limit: u32, wait: Duration) -> Result<Vec<Entry>, LogError>;

    /// Keeps a record that can never succeed for people to look at. Twice is harmless.
    async fn bury(&mut self, position: i64, poison: &Poison, now: Timestamp) -> Result<(), LogError>;

    /// Notes that everything up to and including `position` is settled: it will not be read again.
    async fn commit(&mut self, position: i64) -> Result<(), LogError>;

    /// How many records wait to be settled.
    async fn lag(&mut self) -> Result<u64, LogError>;
}
