//! The order log of a cluster: a Kafka topic, with one partition for each pool and several pools in each partition.
//!
//! A message of the topic carries one record or several, all of one pool, a line each: those that were appended at about the
//! same time. It is one position: its records are appended, read and committed together.
//!
//! [`settings`](KafkaSettings) names it, `topics` makes it, `producer` appends, `consumer` reads as one of a group of order
//! writers, `ownership` is what such a reader may commit, and `offsets` asks how far all of them have come. Two records of one
//! order are harmless further on, so there are no transactions here; the promises are these:
//!
//! - An append that returned is with every in-sync replica, behind everything of its pool that returned before it began.
//! - What a reader has not committed is read again, by itself or by whoever takes over its partitions.
//! - Nothing on an async thread waits for librdkafka: blocking calls have threads of their own, and timeouts.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rdkafka::error::{KafkaError, KafkaResult};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    port::{LogEnd, LogError, OrderLog},
    record,
};
use crate::reservation::port::Reservation;

use health::Health;
use offsets::Offsets;
use producer::{Outgoing, Producer};

pub use consumer::KafkaOrderLogReader;
pub use settings::{KafkaSettings, SettingsError};
pub use topics::TopicError;

mod consumer;
mod context;
mod health;
mod offsets;
mod ownership;
mod producer;
mod settings;
#[cfg(test)]
mod tests;
mod topics;

/// Records in one message, at most: as many as a writer's batch may hold with some room, and a tenth of what brokers take.
const RECORDS_PER_MESSAGE: usize = 256;

/// What stands between two records of a message. No record has it within: JSON writes it as an escape.
const SEPARATOR: char = '\n';

/// librdkafka looks once a second which records have been on their way for too long.
const TIMEOUT_GRAIN: Duration = Duration::from_secs(1);

impl From<KafkaError> for LogError {
    fn from(error: KafkaError) -> Self {
        Self(error.to_string())
    }
}

/// The log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("the Kafka client cannot be set up")]
    Client(#[from] KafkaError),
    #[error("Kafka at {brokers} did not serve within {within:?}")]
    NotServing { brokers: String, within: Duration, source: TopicError },
}

/// The appending end, for any process of the cluster.
#[derive(Debug)]
pub struct KafkaOrderLog {
    settings: KafkaSettings,
    producer: Arc<Producer>,
    offsets: Arc<Offsets>,
    health: Arc<Health>,
    _prober: DropGuard,
}

impl KafkaOrderLog {
    /// Waits for the brokers, creates or checks the topics, and connects.
    pub async fn start(settings: KafkaSettings) -> Result<Self, StartError> {
        settings.check()?;
        let in_sync_min = topics::ensure(&settings).await.map_err(|source| StartError::NotServing {
            brokers: settings.brokers.clone(),
            within: settings.start_within,
            source,
        })?;
        let health = Arc::new(Health::new());
        let producer = Arc::new(Producer::start(&settings, in_sync_min, Arc::clone(&health))?);
        let offsets = Arc::new(Offsets::new(&settings)?);
        let stop = CancellationToken::new();
        tokio::spawn(
            stop.clone().run_until_cancelled_owned(watch(Arc::clone(&producer), Arc::clone(&health))),
        );
        Ok(Self { settings, producer, offsets, health, _prober: stop.drop_guard() })
    }

    /// A reading end: one more member of the group, from its first read on.
    pub fn reader(&self) -> Result<KafkaOrderLogReader, StartError> {
        let (producer, offsets) = (Arc::clone(&self.producer), Arc::clone(&self.offsets));
        Ok(KafkaOrderLogReader::start(&self.settings, producer, offsets)?)
    }
}

#[async_trait]
impl OrderLog for KafkaOrderLog {
    async fn append(&self, reservation: &Reservation) -> Result<(), LogError> {
        let key = reservation.pool.to_string();
        let payload = record::encode(reservation);
        let topic = &self.settings.topic;
        let started = Instant::now();
        self.producer.send(Outgoing { topic, key: &key, payload: &payload, headers: None }).await?;
        metrics::histogram!("panicbuy_log_append_seconds").record(started.elapsed());
        Ok(())
    }

    fn is_well(&self) -> bool {
        self.health.is_well()
    }

    /// It may wait for room as long as it may then be on its way.
    fn append_bound(&self) -> Duration {
        self.settings.delivery_timeout * 2 + TIMEOUT_GRAIN
    }

    async fn end(&self) -> Result<LogEnd, LogError> {
        let offsets = Arc::clone(&self.offsets);
        blocking(move || offsets.ends()).await.map(LogEnd)
    }

    async fn is_settled(&self, end: &LogEnd) -> Result<bool, LogError> {
        let offsets = Arc::clone(&self.offsets);
        let committed = blocking(move || offsets.committed()).await?;
        let reached = |partition| committed.get(&partition).copied().unwrap_or(0);
        Ok(end.0.iter().all(|end| end.offset <= reached(end.partition)))
    }

    async fn lag(&self) -> Result<u64, LogError> {
        let offsets = Arc::clone(&self.offsets);
        blocking(move || offsets.lag()).await
    }
}

/// Looks again and again whether the brokers serve, so that nobody has to order to find out.
async fn watch(producer: Arc<Producer>, health: Arc<Health>) {
    loop {
        health.next_probe().await;
        let before = health.mark();
        let asked = Arc::clone(&producer);
        match tokio::task::spawn_blocking(move || asked.probe()).await {
            Ok(Ok(())) => health.probed(before),
            Ok(Err(error)) => health.probe_failed(before, &error),
            Err(error) => tracing::error!(%error, "a probe of Kafka did not end"),
        }
    }
}

/// Runs a call that blocks where that does not matter.
async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> KafkaResult<T> + Send + 'static,
) -> Result<T, LogError> {
    match tokio::task::spawn_blocking(call).await {
        Ok(answer) => Ok(answer?),
        Err(error) => Err(LogError(error.to_string())),
    }
}

/// Ends a client where it may block. A runtime that shuts down waits for it.
fn off_thread(end: impl FnOnce() + Send + 'static) {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(end)),
        Err(_) => end(),
    }
}
