//! A shop of a test's own on the shared Redis: a prefix that nobody else uses, cleared at the end.

use std::{collections::HashMap, sync::Mutex};

use async_trait::async_trait;
use fred::{interfaces::KeysInterface, types::scan::Scanner};
use futures_util::TryStreamExt;
use panicbuy::{
    domain::{Epoch, PoolId},
    redis::{Redis, RedisSettings},
    reservation::redis::{EpochError, EpochSource},
};
use panicbuy_test_servers::{own_name, shared};

/// A connection with a prefix of its own.
pub struct Shop {
    pub redis: Redis,
}

impl Shop {
    pub async fn open() -> Self {
        Self::at(&shared().redis_url).await
    }

    pub async fn at(url: &str) -> Self {
        let settings =
            RedisSettings { prefix: format!("{}:", own_name()), connections: 2, ..RedisSettings::new(url) };
        let redis = Redis::connect(&settings).await.expect("Redis answers");
        Self { redis }
    }

    /// Removes everything with this prefix.
    pub async fn clear(&self) {
        let pattern = format!("{}*", self.redis.prefix());
        let client = self.redis.commands().next_connected();
        let mut pages = client.scan(pattern, Some(1_000), None);
        while let Some(mut page) = pages.try_next().await.expect("Redis answers") {
            if let Some(keys) = page.take_results().filter(|keys| !keys.is_empty()) {
                let () = client.unlink(keys).await.expect("Redis answers");
            }
            page.next();
        }
    }
}

/// The epochs that the database would know.
#[derive(Default)]
pub struct KnownEpochs {
    epochs: Mutex<HashMap<PoolId, Epoch>>,
}

impl KnownEpochs {
    pub fn set(&self, pool: PoolId, epoch: Epoch) {
        self.epochs.lock().unwrap().insert(pool, epoch);
    }
}

#[async_trait]
impl EpochSource for KnownEpochs {
    async fn epoch(&self, pool: PoolId) -> Result<Option<Epoch>, EpochError> {
        Ok(self.epochs.lock().unwrap().get(&pool).copied())
    }
}
