//! The connection to Redis that the cluster engines share: one server, or a Redis Cluster.
//!
//! Knows addresses, time-outs, how a script gets to the server that holds its keys, and whether Redis is well. Must not
//! know what is stored there: keys and scripts belong to the engines. A loss of the connection after the start heals by itself;
//! until then every call fails within its time-out, and nothing that changes something is ever sent twice in silence.

mod connect;
mod error;
mod health;
mod script;
mod settings;
#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

use std::{fmt::Display, sync::Arc};

use fred::{
    clients::{Pool, SubscriberClient},
    interfaces::{LuaInterface, PubsubInterface},
    types::{Key, Value},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::health::Health;
pub use self::{
    error::{ConnectError, RedisError},
    script::Script,
    settings::RedisSettings,
};

/// Connections to Redis, shared by all clones. They end with the last clone.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    settings: RedisSettings,
    node: String,
    health: Health,
    /// Ends the tasks that keep the connections alive.
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Redis {
    /// Connects, or says within [`RedisSettings::start_wait`] why that is impossible.
    pub async fn connect(settings: &RedisSettings) -> Result<Self, ConnectError> {
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let pool = connect::pool(settings, &stop).await?;
        let health = Health::watch(pool.clone(), settings, stop.clone()).await;
        let node = crate::random::uuid().simple().to_string();
        let inner = Inner { pool, settings: settings.clone(), node, health, stop, _stop_on_drop: guard };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Another connection, for one that listens: it must be told to subscribe. It lives as long as this value's clones.
    pub(crate) async fn subscriber(&self) -> Result<SubscriberClient, ConnectError> {
        connect::subscriber(&self.inner.settings, &self.inner.stop).await
    }

    /// The key of something that belongs to one pool. All keys of a pool are in one slot of a cluster.
    pub fn key(&self, pool: impl Display, name: &str) -> String {
        format!("{}{{{pool}}}:{name}", self.inner.settings.prefix)
    }

    /// What every key and channel of this shop begins with.
    pub fn prefix(&self) -> &str {
        &self.inner.settings.prefix
    }

    /// This process, as others hear of it. Drawn anew at each connecting.
    pub fn node(&self) -> &str {
        &self.inner.node
    }

    /// The settings that it was connected with.
    pub fn settings(&self) -> &RedisSettings {
        &self.inner.settings
    }

    /// Commands that are not scripts. Each is sent once at most, like a script.
    pub fn commands(&self) -> &Pool {
        &self.inner.pool
    }

    /// Says something to whoever is subscribed to the channel now, on any node.
    pub async fn publish(&self, channel: &str, text: String) -> Result<(), RedisError> {
        Ok(self.inner.pool.next_connected().publish::<(), _, _>(channel, text).await?)
    }

    /// Whether every server of Redis answered lately, and took a write. Asked in the background, so it costs nothing.
    pub fn is_well(&self) -> bool {
        self.inner.health.is_well()
    }

    /// Runs a script on the server that holds the keys, which must all be of one slot. A server that does not know the
    /// script gets its text. After [`RedisError::Lost`] or [`RedisError::TimedOut`] nobody knows whether it ran: the caller decides.
    pub async fn run(
        &self,
        script: &Script,
        keys: Vec<String>,
        args: Vec<Value>,
    ) -> Result<Value, RedisError> {
        let keys: Vec<Key> = keys.into_iter().map(Key::from).collect();
        let first: Result<Value, _> =
            self.inner.pool.evalsha(script.hash(), keys.clone(), args.clone()).await;
        let answer = match first {
            // A server that was emptied, restarted or exchanged. It has not run anything, so sending again is safe.
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                self.inner.pool.eval(script.source(), keys, args).await
            }
            answer => answer,
        };
        Ok(answer?)
    }
}
