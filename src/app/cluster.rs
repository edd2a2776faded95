//! The cluster engines: MySQL, Redis and Kafka, shared by any number of processes.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use async_trait::async_trait;
use tokio::sync::Notify;

use super::{
    engines::{Engines, Keeper, Opened},
    limits,
    parts::Part,
};
use crate::{
    config::Settings,
    domain::{Epoch, PoolId},
    order_log::kafka::KafkaOrderLog,
    order_writer::writer::OrderWriter,
    redis::Redis,
    reservation::redis::{EpochError, EpochSource, RedisEngine},
    results::redis::RedisResults,
    service::hot::{HotReads, redis::RedisHotReads},
    store::{mysql::MysqlStore, port::OrderStore},
};

/// What only the cluster engines need.
pub(super) struct Cluster {
    redis: Redis,
    results: Arc<RedisResults>,
    /// Rung when a ledger was found missing.
    pub lost_bell: Arc<Notify>,
    /// Items and promos, shared by all gateways.
    pub hot_reads: Arc<dyn HotReads>,
}

impl Cluster {
    /// Redis, and separately what comes over it: it may answer while the news is deaf.
    pub(super) fn parts(&self) -> Vec<Part> {
        let (redis, results) = (self.redis.clone(), Arc::clone(&self.results));
        vec![
            Part { name: "redis", works: Arc::new(move || redis.is_well()) },
            Part { name: "results", works: Arc::new(move || results.is_well()) },
        ]
    }
}

/// Connects to the servers, and makes what is missing there.
pub(super) async fn open(
    settings: &Settings,
    database_url: &str,
    redis_url: &str,
    kafka_brokers: &str,
) -> anyhow::Result<Opened> {
    let token_secret = settings.accounts.token_secret.clone().context(
        "--token-secret (PANICBUY_TOKEN_SECRET) must be set with the cluster engines, to the same on every process: \
         each checks what another has signed",
    )?;
    let store = connect_database(settings, database_url).await?;
    let redis = Redis::connect(&limits::redis_settings(settings, redis_url))
        .await
        .context("--redis-url (PANICBUY_REDIS_URL)")?;
    let log = KafkaOrderLog::start(limits::kafka_settings(settings, kafka_brokers))
        .await
        .context("--kafka-brokers (PANICBUY_KAFKA_BROKERS)")?;

    let results = Arc::new(RedisResults::connect(&redis, limits::redis_results_settings(settings)).await?);
    let hot_reads = RedisHotReads::connect(&redis, limits::hot_settings(settings)).await?;
    let epochs = Arc::new(StoredEpochs(Arc::clone(&store)));
    let engine =
        RedisEngine::new(redis.clone(), epochs, &limits::redis_engine_settings(settings, results.followed()));
    let lost_bell = engine.lost_bell();
    let engine = Arc::new(engine);
    let writer = if settings.engines.role.is_writer() {
        let reader = log.reader().context("--kafka-group (PANICBUY_KAFKA_GROUP)")?;
        let how = limits::writer_settings(settings, false);
        Some(OrderWriter::new(Box::new(reader), store.clone(), engine.clone(), how))
    } else {
        None
    };
    Ok(Opened {
        engines: Engines {
            store,
            log: Arc::new(log),
            reservations: engine.clone(),
            rooms: engine,
            results: results.clone(),
        },
        writer,
        token_secret,
        keeper: Keeper::Cluster(Cluster { redis, results, lost_bell, hot_reads: Arc::new(hot_reads) }),
    })
}

/// Waits for the database, within the bound of the start: in a deployment it often starts at the same time.
async fn connect_database(settings: &Settings, url: &str) -> anyhow::Result<Arc<MysqlStore>> {
    let how = limits::mysql_settings(settings);
    let until = tokio::time::Instant::now() + Duration::from_millis(settings.engines.start_timeout_ms);
    loop {
        match MysqlStore::open(url, &how).await {
            Ok(store) => return Ok(Arc::new(store)),
            Err(error) if error.is_absence() && tokio::time::Instant::now() < until => {
                tracing::warn!(%error, "the database is waited for");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) => {
                return Err(error).context("--database-url (PANICBUY_DATABASE_URL): it could not be opened");
            }
        }
    }
}

/// The epochs that ledgers must have are in the database.
struct StoredEpochs(Arc<MysqlStore>);

#[async_trait]
impl EpochSource for StoredEpochs {
    async fn epoch(&self, pool: PoolId) -> Result<Option<Epoch>, EpochError> {
        let row = self.0.pool(pool).await.map_err(|error| EpochError(error.to_string()))?;
        Ok(row.map(|row| row.epoch))
    }
}
