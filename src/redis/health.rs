//! Whether Redis is well: asked in the background, with a bound, on every server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fred::{
    clients::Pool,
    interfaces::{ClientLike, ClusterInterface, KeysInterface},
    types::Expiration,
    util::redis_keyslot,
};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::RedisSettings;

/// How long the written mark stays, in milliseconds: a process that is gone leaves nothing.
const MARK_LIFE_MS: i64 = 60_000;
/// Names tried for a mark that lies on a certain server of a cluster.
const MAX_NAMES: u32 = 100_000;

/// The latest answer.
pub struct Health {
    well: Arc<AtomicBool>,
}

impl Health {
    /// Asks now, and then every [`RedisSettings::probe_every`] until `stop`.
    pub async fn watch(pool: Pool, settings: &RedisSettings, stop: CancellationToken) -> Self {
        let (prefix, every, bound) =
            (settings.prefix.clone(), settings.probe_every, settings.command_timeout);
        let well = Arc::new(AtomicBool::new(probe(&pool, &prefix, bound).await));
        let shared = Arc::clone(&well);
        tokio::spawn(async move {
            let mut interval = tokio::time::interval(every);
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while stop.run_until_cancelled(interval.tick()).await.is_some() {
                let now = probe(&pool, &prefix, bound).await;
                if shared.swap(now, Ordering::AcqRel) != now {
                    tracing::warn!(well = now, "Redis changed its health");
                }
            }
        });
        Self { well }
    }

    pub fn is_well(&self) -> bool {
        self.well.load(Ordering::Acquire)
    }
}

/// Writes a mark on every server: one that only reads (a replica, a full disk) is as useless here as one that is silent.
async fn probe(pool: &Pool, prefix: &str, bound: Duration) -> bool {
    let Some(marks) = marks(pool, prefix) else { return false };
    let write_all = async {
        for mark in marks {
            let expire = Some(Expiration::PX(MARK_LIFE_MS));
            pool.set::<(), _, _>(mark, 1, expire, None, false).await?;
        }
        Ok::<_, fred::error::Error>(())
    };
    match tokio::time::timeout(bound, write_all).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::debug!(%error, "Redis is not well");
            false
        }
        Err(_) => false,
    }
}

/// One key on each server that holds keys; `None` if no server is known.
fn marks(pool: &Pool, prefix: &str) -> Option<Vec<String>> {
    let client = pool.next_connected();
    if !client.is_clustered() {
        return Some(vec![format!("{prefix}well")]);
    }
    let routing = client.cached_cluster_state()?;
    let servers = routing.unique_primary_nodes();
    let lies_on = |server: &fred::types::config::Server, name: &String| {
        routing.get_server(redis_keyslot(name.as_bytes())) == Some(server)
    };
    let mark_on = |server: &fred::types::config::Server| {
        (0..MAX_NAMES).map(|n| format!("{prefix}well:{n}")).find(|name| lies_on(server, name))
    };
    (!servers.is_empty()).then(|| servers.iter().filter_map(mark_on).collect())
}
