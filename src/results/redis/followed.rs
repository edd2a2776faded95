//! The pools whose news matters to this process: those it has heard of, or acted on, lately.

use std::time::Duration;

use dashmap::DashMap;
use tokio::{sync::Notify, time::Instant};

use crate::domain::PoolId;

/// Which pools are followed. A pool that nobody touches for a while is forgotten.
#[derive(Debug)]
pub struct Followed {
    pools: DashMap<PoolId, Pool>,
    max: usize,
    added: Notify,
}

#[derive(Debug)]
struct Pool {
    touched: Instant,
    /// It is known from where on its news is owed.
    started: bool,
}

impl Followed {
    /// `max`: pools followed at once. The news of more is delivered too, but what is lost of it is not noticed.
    pub(super) fn new(max: usize) -> Self {
        Self { pools: DashMap::new(), max, added: Notify::new() }
    }

    /// To be called when this process acts on a pool: from then on lost news of it is noticed, even if it is the first.
    /// Cheap, so it may be called every time.
    pub fn follow(&self, pool: PoolId) {
        let now = Instant::now();
        if let Some(mut pool) = self.pools.get_mut(&pool) {
            pool.touched = now;
        } else if self.pools.len() < self.max {
            self.pools.insert(pool, Pool { touched: now, started: false });
            self.added.notify_one();
        } else {
            metrics::counter!("panicbuy_unfollowed_pools_total").increment(1);
        }
    }

    /// Whether lost news of the pool is noticed by now.
    pub fn is_followed(&self, pool: PoolId) -> bool {
        self.pools.get(&pool).is_some_and(|pool| pool.started)
    }

    /// Completes when a pool was added since the last time.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }

    /// Notes that it is known from where on the pool's news is owed. `false`: it is not followed any more.
    pub(super) fn started(&self, pool: PoolId) -> bool {
        let pool = self.pools.get_mut(&pool).map(|mut pool| pool.started = true);
        pool.is_some()
    }

    /// Forgets the pools that were not touched for `idle`, and says which are left.
    pub(super) fn pools(&self, idle: Duration) -> Vec<PoolId> {
        self.pools.retain(|_, pool| pool.touched.elapsed() < idle);
        self.pools.iter().map(|entry| *entry.key()).collect()
    }

    /// The pools of which it is not known yet from where on their news is owed.
    pub(super) fn new_ones(&self) -> Vec<PoolId> {
        self.pools.iter().filter(|entry| !entry.started).map(|entry| *entry.key()).collect()
    }
}
