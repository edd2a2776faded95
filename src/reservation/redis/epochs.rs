//! Which epoch each pool's ledger has, as far as this process knows.
//!
//! The source is asked when a pool is met first, and when Redis does not have the ledger of the epoch known here; then at
//! most once per [`PATIENCE`], so that a Redis that lost everything does not bring the source down too.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use moka::future::Cache;
use tokio::{sync::Notify, time::Instant};

use super::super::port::EngineError;
use crate::domain::{Epoch, PoolId};

/// An answer of the source is good for so long, even if Redis has another opinion.
const PATIENCE: Duration = Duration::from_millis(100);
/// Pools known at once; who is forgotten is asked for again.
const MAX_POOLS: u64 = 100_000;

/// Knows which epoch the ledger of a pool must have: the database.
#[async_trait]
pub trait EpochSource: Send + Sync {
    /// `None`: there is no such pool, or its ledger was never built.
    async fn epoch(&self, pool: PoolId) -> Result<Option<Epoch>, EpochError>;
}

/// The epoch of a pool could not be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the epoch of a ledger cannot be read: {0}")]
pub struct EpochError(pub String);

#[derive(Clone, Copy)]
struct Known {
    epoch: Option<Epoch>,
    since: Instant,
}

pub(super) struct Epochs {
    source: Arc<dyn EpochSource>,
    known: Cache<PoolId, Known>,
    lost: Arc<Notify>,
}

impl Epochs {
    pub(super) fn new(source: Arc<dyn EpochSource>) -> Self {
        Self { source, known: Cache::new(MAX_POOLS), lost: Arc::default() }
    }

    /// Rung when a ledger is missed.
    pub(super) fn lost_bell(&self) -> Arc<Notify> {
        Arc::clone(&self.lost)
    }

    /// Notes a pool's epoch that somebody knows for sure, unless a later one is known.
    pub(super) async fn learn(&self, pool: PoolId, epoch: Epoch) {
        if self.known.get(&pool).await.is_some_and(|known| known.epoch >= Some(epoch)) {
            return;
        }
        self.known.insert(pool, Known { epoch: Some(epoch), since: Instant::now() }).await;
    }

    /// The pool's epoch; a pool that has none is not ready.
    pub(super) async fn of(&self, pool: PoolId) -> Result<Epoch, EngineError> {
        let known = self.ask(pool).await?;
        let is_old = known.epoch.is_none() && known.since.elapsed() >= PATIENCE;
        let epoch = if is_old { self.ask_anew(pool).await? } else { known.epoch };
        epoch.ok_or_else(|| self.not_ready(pool))
    }

    /// The pool's epoch if it is another than `refused`, which Redis does not have.
    pub(super) async fn instead_of(&self, pool: PoolId, refused: Epoch) -> Result<Epoch, EngineError> {
        let known = self.ask(pool).await?;
        let is_fresh = known.since.elapsed() < PATIENCE;
        let epoch =
            if known.epoch != Some(refused) || is_fresh { known.epoch } else { self.ask_anew(pool).await? };
        epoch.filter(|epoch| *epoch != refused).ok_or_else(|| self.not_ready(pool))
    }

    async fn ask_anew(&self, pool: PoolId) -> Result<Option<Epoch>, EngineError> {
        self.known.invalidate(&pool).await;
        Ok(self.ask(pool).await?.epoch)
    }

    /// Callers who ask at the same time share one question to the source.
    async fn ask(&self, pool: PoolId) -> Result<Known, EngineError> {
        let ask = async {
            let epoch = self.source.epoch(pool).await?;
            Ok::<_, EpochError>(Known { epoch, since: Instant::now() })
        };
        self.known.try_get_with(pool, ask).await.map_err(|error| EngineError::Unavailable(error.to_string()))
    }

    /// Rings the bell, so that recovery looks at once.
    pub(super) fn not_ready(&self, pool: PoolId) -> EngineError {
        self.lost.notify_one();
        EngineError::NotReady(pool)
    }
}
