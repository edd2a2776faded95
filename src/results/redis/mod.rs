//! The bus of many processes: news that the engines' scripts publish in Redis.
//!
//! Knows the form of the news ([`wire`]), how far each pool's has been heard ([`position`]), and how to find out that some was lost.
//! The quick way is one channel for all pools. What is lost on it (a reconnect, a subscription that died in silence, a buffer
//! that ran over) is noticed by its number and read from the pool's stream; only what is not in there any more is [`Heard::Missed`].

mod followed;
mod listener;
mod position;
#[cfg(test)]
mod tests;
mod wire;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::followed::Followed;
use self::listener::Listener;
use super::port::{Event, Heard, Results, Subscription};
use crate::redis::{ConnectError, Redis};

/// The bounds of the bus.
#[derive(Clone, Debug)]
pub struct RedisResultsSettings {
    /// Publications a slow subscriber may be behind before it misses some.
    pub capacity: usize,
    /// How often the subscription and the streams are probed for what was lost.
    pub probe_every: Duration,
    /// Pools whose lost news is noticed.
    pub max_pools: usize,
    /// Pools probed in one round; more take turns.
    pub pools_per_probe: usize,
    /// How long a pool is followed after it was last heard of or acted on.
    pub idle: Duration,
    /// Entries read from a stream at once.
    pub page: u64,
    /// Entries of one pool that are read after a loss; if there are more, subscribers read the state instead.
    pub max_repair: u64,
}

impl Default for RedisResultsSettings {
    fn default() -> Self {
        Self {
            capacity: 4096,
            probe_every: Duration::from_secs(1),
            max_pools: 10_000,
            pools_per_probe: 256,
            idle: Duration::from_mins(10),
            page: 500,
            max_repair: 10_000,
        }
    }
}

/// What every subscriber of this process is told.
#[derive(Clone, Debug)]
enum News {
    Events(Arc<[Event]>),
    Missed,
}

/// The bus of one process among many.
pub struct RedisResults {
    sender: broadcast::Sender<News>,
    followed: Arc<Followed>,
    hears: Arc<AtomicBool>,
    _stop_on_drop: DropGuard,
}

impl RedisResults {
    /// Subscribes, and keeps listening until this value is dropped.
    pub async fn connect(redis: &Redis, settings: RedisResultsSettings) -> Result<Self, ConnectError> {
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let sender = broadcast::channel(settings.capacity).0;
        let followed = Arc::new(Followed::new(settings.max_pools));
        let hears = Arc::new(AtomicBool::new(false));
        let listener = Listener::connect(
            redis.clone(),
            settings,
            sender.clone(),
            Arc::clone(&followed),
            Arc::clone(&hears),
        )
        .await?;
        let listening = Box::pin(listener.run());
        tokio::spawn(async move { stop.run_until_cancelled(listening).await });
        Ok(Self { sender, followed, hears, _stop_on_drop: guard })
    }

    /// Where engines say which pools this process acts on.
    pub fn followed(&self) -> Arc<Followed> {
        Arc::clone(&self.followed)
    }

    /// Whether the subscription has lately brought what was published: Redis may answer while it is deaf.
    pub fn is_well(&self) -> bool {
        self.hears.load(Ordering::Acquire)
    }
}

impl Results for RedisResults {
    fn subscribe(&self) -> Box<dyn Subscription> {
        Box::new(RedisSubscription { receiver: self.sender.subscribe() })
    }
}

struct RedisSubscription {
    receiver: broadcast::Receiver<News>,
}

#[async_trait]
impl Subscription for RedisSubscription {
    async fn next(&mut self) -> Heard {
        match self.receiver.recv().await {
            Ok(News::Events(events)) => Heard::Events(events),
            Ok(News::Missed) | Err(broadcast::error::RecvError::Lagged(_)) => Heard::Missed,
            Err(broadcast::error::RecvError::Closed) => Heard::Closed,
        }
    }
}
