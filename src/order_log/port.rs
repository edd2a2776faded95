//! What the system asks of an order log.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::{
    domain::{OrderId, PoolId, Timestamp},
    reservation::port::Reservation,
};

/// The log did not do what was asked. An append that failed may or may not be in the log: append it again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the order log failed: {0}")]
pub struct LogError(pub String);

/// Where a record is: a log has one partition or several, and offsets grow along each. Records that were appended together
/// may share a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.partition, self.offset)
    }
}

/// Where the log ended at some moment, to be asked for again; only its engine can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEnd(pub(super) Vec<Position>);

/// One record as the writer reads it.
#[derive(Clone, Debug)]
pub struct Entry {
    pub position: Position,
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

    /// How long after its start an append that has not succeeded may still be sent. From then on this end sends it no more;
    /// a server that stood still in the middle may yet add what had reached it.
    fn append_bound(&self) -> Duration;

    /// Where the log ends now: behind everything whose append has succeeded.
    async fn end(&self) -> Result<LogEnd, LogError>;

    /// Whether the order writers have settled everything before `end`.
    async fn is_settled(&self, end: &LogEnd) -> Result<bool, LogError>;

    /// How many positions wait to be settled, in the whole log: as many as records, or fewer.
    async fn lag(&self) -> Result<u64, LogError>;
}

/// The end of the log that an order writer reads. Several may share a log; each partition is read by one of them at a time,
/// so the records of one pool come in their order.
#[async_trait]
pub trait OrderLogReader: Send + Sync {
    /// The next records, at most `limit`, unless more than that share one position: then all of these. Waits up to `wait`
    /// for the first; empty if none came.
    async fn read(&mut self, limit: u32, wait: Duration) -> Result<Vec<Entry>, LogError>;

    /// Keeps a record that can never succeed for people to look at. Twice is harmless.
    async fn bury(&mut self, position: Position, poison: &Poison, now: Timestamp) -> Result<(), LogError>;

    /// Notes that `batch`, and everything before it in its partitions, is settled: it will not be read again, unless the reader
    /// dies at this moment. A partition that another reader has taken over meanwhile is left to that reader, who reads again.
    async fn commit(&mut self, batch: &[Position]) -> Result<(), LogError>;

    /// How many positions wait to be settled, in the whole log.
    async fn lag(&mut self) -> Result<u64, LogError>;
}
