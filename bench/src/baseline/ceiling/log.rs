//! Records appended to Kafka: acknowledged by all in-sync replicas, idempotent, with the shop's own settings of the producer.
//!
//! As many records are on their way at once as the shop lets be. One key is one pool, so one partition; many keys show what
//! the broker can do with all of them.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::{Args, value_parser};
use rdkafka::{
    ClientConfig, ClientContext,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext},
};
use uuid::Uuid;

use super::reservation::Reservation;
use crate::{
    baseline::{
        database::shopper,
        timing::{Pace, Repeats, per_second},
    },
    found::Found,
    latency::Latencies,
};

/// How long a record may be on its way, and how long the brokers are waited for.
const WITHIN: Duration = Duration::from_secs(10);
/// Different records that are sent in turn, so that compression finds what it would find in the shop.
const RECORDS: usize = 4096;
/// Records sent between two looks at what was delivered.
const SENDS_PER_POLL: usize = 64;
/// How long the producer is given to hear of deliveries when it may not send.
const POLL: Duration = Duration::from_millis(1);

/// Settings of the log.
#[derive(Clone, Debug, Args)]
pub struct LogSettings {
    /// Partitions of the topic that is made.
    #[arg(long = "log-partitions", value_name = "N", default_value_t = 12, value_parser = value_parser!(i32).range(1..=1000))]
    pub partitions: i32,
    /// Numbers of keys: 1 is one promo, so one partition.
    #[arg(long = "log-keys", value_name = "N,…", value_delimiter = ',', default_values_t = [1, 96])]
    pub keys: Vec<usize>,
    /// Records on their way at once.
    #[arg(long = "log-in-flight", value_name = "N,…", value_delimiter = ',', default_values_t = [1000, 10_000])]
    pub in_flight: Vec<usize>,
}

/// Measures every number of keys and of records on their way. `log_records_per_s` is the best with one key.
pub async fn measure(
    brokers: &str,
    settings: &LogSettings,
    pace: Pace,
    found: &mut Found,
) -> anyhow::Result<()> {
    ensure!(!settings.keys.contains(&0), "--log-keys counts from 1");
    let config = config(brokers);
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let topic = format!("panicbuy-bench-{}", Uuid::new_v4().simple());
    let new = NewTopic::new(&topic, settings.partitions, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().operation_timeout(Some(WITHIN)).request_timeout(Some(WITHIN));
    let made = admin.create_topics([&new], &options).await.context("the brokers do not answer")?;
    made.into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|(name, code)| anyhow::anyhow!("{name}: {code}"))?;
    let measured = measure_on(&config, &topic, settings, pace, found).await;
    admin
        .delete_topics(&[&topic], &options)
        .await
        .with_context(|| format!("the topic {topic} is left over"))?;
    measured
}

async fn measure_on(
    config: &ClientConfig,
    topic: &str,
    settings: &LogSettings,
    pace: Pace,
    found: &mut Found,
) -> anyhow::Result<()> {
    found.set("log_partitions", settings.partitions);
    for &keys in &settings.keys {
        let name = if keys == 1 { "log_records_per_s" } else { "log_records_per_s_of_many_keys" };
        for &in_flight in &settings.in_flight {
            let load = Load::new(config.clone(), topic, keys, in_flight);
            found.note("log_record_bytes", load.mean_bytes());
            // The producer's calls are its own loop: it must not hold up the runtime.
            let repeats = tokio::task::spawn_blocking(move || load.repeat(pace)).await??;
            let case = format!("of_{keys}_keys_{in_flight}_in_flight");
            repeats.note(found, &format!("log_records_per_s_{case}"));
            found.latencies.insert(format!("log_record_{case}"), repeats.percentiles());
            eprintln!("log, {case}: {:.0} records per second", repeats.median());
            if found.numbers.get(name).is_none_or(|best| repeats.median() > *best) {
                repeats.note(found, name);
            }
        }
    }
    Ok(())
}

/// The shop's producer, as far as speed goes.
fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "panicbuy-bench")
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("message.timeout.ms", WITHIN.as_millis().to_string())
        .set("request.timeout.ms", WITHIN.as_millis().to_string())
        .set("linger.ms", "1")
        .set("compression.codec", "lz4")
        .set("partitioner", "murmur2")
        .set("socket.nagle.disable", "true")
        .set("queue.buffering.max.kbytes", "65536");
    config
}

/// Hears what became of each record.
#[derive(Default)]
struct Deliveries {
    delivered: AtomicU64,
    failed: AtomicU64,
    latencies: Mutex<Latencies>,
}

impl Deliveries {
    fn latencies(&self) -> MutexGuard<'_, Latencies> {
        self.latencies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    /// When it was sent.
    type DeliveryOpaque = Box<Instant>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, sent: Box<Instant>) {
        if delivered.is_ok() {
            self.delivered.fetch_add(1, Ordering::Relaxed);
            self.latencies().record(sent.elapsed());
        } else {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Records and where they go.
struct Load {
    config: ClientConfig,
    topic: String,
    records: Vec<(String, String)>,
    in_flight: usize,
}

impl Load {
    fn new(config: ClientConfig, topic: &str, keys: usize, in_flight: usize) -> Self {
        let record = |nth: usize| {
            let pool = format!("promo:{}", nth % keys + 1);
            let record =
                Reservation::new(shopper(i64::try_from(nth).unwrap_or_default() + 1), &pool).record();
            (pool, record)
        };
        let mut config = config;
        config.set("queue.buffering.max.messages", in_flight.to_string());
        Self { config, topic: topic.to_owned(), records: (0..RECORDS).map(record).collect(), in_flight }
    }

    #[expect(clippy::cast_precision_loss, reason = "a megabyte has fewer than 53 bits")]
    fn mean_bytes(&self) -> f64 {
        let bytes: usize = self.records.iter().map(|(_, record)| record.len()).sum();
        bytes as f64 / self.records.len() as f64
    }

    fn repeat(&self, pace: Pace) -> anyhow::Result<Repeats> {
        let mut repeats = Repeats::default();
        for _ in 0..pace.repeats {
            let producer: BaseProducer<Deliveries> = self.config.create_with_context(Deliveries::default())?;
            self.send_for(&producer, pace.warm_up())?;
            let deliveries = producer.context();
            let before = deliveries.delivered.load(Ordering::Relaxed);
            *deliveries.latencies() = Latencies::new();
            let start = Instant::now();
            self.send_for(&producer, pace.duration())?;
            let delivered = deliveries.delivered.load(Ordering::Relaxed) - before;
            repeats.push(per_second(delivered, start.elapsed()), &deliveries.latencies());
            producer.flush(WITHIN)?;
            let failed = deliveries.failed.load(Ordering::Relaxed);
            ensure!(failed == 0, "{failed} records were not delivered");
        }
        Ok(repeats)
    }

    /// Keeps `in_flight` records on their way for this long.
    fn send_for(&self, producer: &BaseProducer<Deliveries>, duration: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        let mut records = self.records.iter().cycle();
        while start.elapsed() < duration {
            for (key, payload) in records.by_ref().take(SENDS_PER_POLL) {
                let record = BaseRecord::with_opaque_to(&self.topic, Box::new(Instant::now()))
                    .key(key)
                    .payload(payload);
                match producer.send(record) {
                    Ok(()) => {}
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                    Err((error, _)) => return Err(error.into()),
                }
            }
            let full = usize::try_from(producer.in_flight_count()).unwrap_or(0) >= self.in_flight;
            producer.poll(if full { POLL } else { Duration::ZERO });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_key_is_one_pool() {
        let pools = |keys| {
            let load = Load::new(config("localhost:1"), "topic", keys, 10);
            load.records.iter().map(|(key, _)| key.clone()).collect::<std::collections::BTreeSet<_>>().len()
        };
        assert_eq!((pools(1), pools(96)), (1, 96));
    }
}
