//! What the Kafka engine is told: names, bounds, and how to reach the brokers.
//!
//! Knows librdkafka's property names. Some properties carry the log's promises and cannot be set from outside.

use std::{fmt, time::Duration};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel};

/// Whether this build speaks TLS.
const HAS_TLS: bool = cfg!(feature = "kafka-tls");

/// What the log's promises rest on: nobody sets these from outside.
const RESERVED: [&str; 24] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "compression.codec",
    "compression.type",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "linger.ms",
    "max.poll.interval.ms",
    "message.timeout.ms",
    "partition.assignment.strategy",
    "partitioner",
    "queue.buffering.max.messages",
    "request.required.acks",
    "session.timeout.ms",
    "transactional.id",
];

/// Bytes the producer may hold.
const PRODUCER_KBYTES_MAX: u32 = 64 * 1024;

/// Bytes a reader may hold ahead of what was asked for.
const PREFETCH_KBYTES_MAX: u32 = 16 * 1024;

/// How the log is reached, named and bounded.
#[derive(Clone)]
pub struct KafkaSettings {
    /// `host:port`, several with commas between them.
    pub brokers: String,
    /// Where orders go.
    pub topic: String,
    /// Where records go that can never succeed.
    pub dead_letter_topic: String,
    /// The group that the order writers share.
    pub group: String,
    /// A name of this writer that outlives it. A writer that comes back under it within `session_timeout` gets its partitions
    /// back without a rebalance; nobody else may use it meanwhile.
    pub instance: Option<String>,
    /// Partitions of a new order topic: no more writers than these can work at once.
    pub partitions: i32,
    /// Copies of each partition of a new topic; -1 leaves it to the brokers.
    pub replication: i32,
    /// How long a new order topic keeps records, settled or not.
    pub retention: Duration,
    /// How long a record may be on its way before its append has failed.
    pub delivery_timeout: Duration,
    /// Records on their way at once; more wait up to `delivery_timeout` for room.
    pub max_in_flight: usize,
    /// A writer that has not been heard of for so long loses its partitions.
    pub session_timeout: Duration,
    /// A writer that has not come back for more for so long loses its partitions: others may have better luck.
    pub settle_within: Duration,
    /// A reader that got nothing for so long looks whether it has stalled.
    pub stall_after: Duration,
    /// How long one question to the brokers may take.
    pub request_timeout: Duration,
    /// How long the start waits for brokers and topics.
    pub start_within: Duration,
    /// More properties of librdkafka, for credentials and TLS.
    pub properties: Vec<(String, String)>,
}

/// The settings cannot work.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error(
        "the Kafka property {0} asks for TLS or SCRAM, which this build leaves out: build with --features kafka-tls"
    )]
    NeedsTls(String),
    #[error("the Kafka property {0} is not free to choose: the order log's promises rest on it")]
    Reserved(String),
}

impl KafkaSettings {
    /// The defaults, for these brokers.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self {
            brokers: brokers.into(),
            topic: "panicbuy.orders".to_owned(),
            dead_letter_topic: "panicbuy.orders.dead".to_owned(),
            group: "panicbuy-writers".to_owned(),
            instance: None,
            partitions: 12,
            replication: -1,
            retention: Duration::from_hours(7 * 24),
            delivery_timeout: Duration::from_secs(5),
            max_in_flight: 10_000,
            session_timeout: Duration::from_secs(6),
            settle_within: Duration::from_mins(1),
            stall_after: Duration::from_secs(15),
            request_timeout: Duration::from_secs(5),
            start_within: Duration::from_secs(30),
            properties: Vec::new(),
        }
    }

    /// Refuses properties that cannot work or must not be changed.
    pub fn check(&self) -> Result<(), SettingsError> {
        for (name, value) in &self.properties {
            if !HAS_TLS && asks_for_tls(name, value) {
                return Err(SettingsError::NeedsTls(format!("{name}={}", shown(name, value))));
            }
            if RESERVED.contains(&name.as_str()) {
                return Err(SettingsError::Reserved(name.clone()));
            }
        }
        Ok(())
    }

    /// What every client has in common.
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set_log_level(RDKafkaLogLevel::Info)
            .set("client.id", "panicbuy")
            // A broker that is back is found at once, not after the 10 s that pauses grow to otherwise.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "500")
            .set("socket.timeout.ms", millis(self.delivery_timeout.max(self.request_timeout)))
            .set("socket.nagle.disable", "true")
            .set("topic.metadata.refresh.interval.ms", "30000");
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers);
        config
    }

    /// One that appends: in order for each key, without duplicates of its own making, acknowledged by all in-sync replicas.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", millis(self.delivery_timeout))
            .set("request.timeout.ms", millis(self.delivery_timeout))
            // Records are sent in rounds (see `producer.rs`), so none waits here for company. librdkafka's thread spins while
            // one does: a third of a core with a linger of 1 ms, half of one with a single request in flight.
            .set("linger.ms", "0")
            .set("compression.codec", "lz4")
            // The one that Java clients use too, so that any tool can tell where a pool's orders are.
            .set("partitioner", "murmur2")
            // The real bound is `max_in_flight`; librdkafka counts a record for a moment longer.
            .set("queue.buffering.max.messages", self.max_in_flight.saturating_mul(2).to_string())
            .set("queue.buffering.max.kbytes", PRODUCER_KBYTES_MAX.to_string());
        config
    }

    /// One that asks for offsets, as a stranger to the group.
    pub(super) fn observer(&self) -> ClientConfig {
        let mut config = self.client();
        config.set("group.id", &self.group).set("enable.auto.commit", "false");
        config
    }

    /// One that reads as a member of the group.
    pub(super) fn member(&self) -> ClientConfig {
        let mut config = self.observer();
        config
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("session.timeout.ms", millis(self.session_timeout))
            .set("heartbeat.interval.ms", millis(self.session_timeout / 3))
            .set("max.poll.interval.ms", millis(self.settle_within.max(self.session_timeout)))
            .set("fetch.wait.max.ms", "250")
            .set("fetch.error.backoff.ms", "100")
            // Nothing is fetched ahead of what a fetch brings anyhow. Otherwise brokers answer a fetch for each record that comes,
            // while the writer takes what came in 8 ms: a third of all they do at 2,300 orders/s.
            .set("queued.min.messages", "1")
            // The default looks only once a second whether what was fetched is used up.
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.max.messages.kbytes", PREFETCH_KBYTES_MAX.to_string());
        if let Some(instance) = &self.instance {
            config.set("group.instance.id", instance);
        }
        config
    }
}

/// Without the properties, which may be secrets.
impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { brokers, topic, group, .. } = self;
        f.debug_struct("KafkaSettings")
            .field("brokers", brokers)
            .field("topic", topic)
            .field("group", group)
            .finish_non_exhaustive()
    }
}

fn asks_for_tls(name: &str, value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    match name {
        "security.protocol" => value.contains("ssl"),
        "sasl.mechanism" | "sasl.mechanisms" => value.starts_with("scram") || value == "oauthbearer",
        _ => name.starts_with("ssl.") || name == "enable.ssl.certificate.verification",
    }
}

/// A value that may go into a message.
fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    if name.starts_with("ssl.") { "…" } else { value }
}

fn millis(duration: Duration) -> String {
    duration.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &str, value: &str) -> Result<(), SettingsError> {
        let properties = vec![(name.to_owned(), value.to_owned())];
        KafkaSettings { properties, ..KafkaSettings::new("localhost:9092") }.check()
    }

    #[test]
    fn credentials_are_taken_and_promises_are_not() {
        with("sasl.username", "shop").unwrap();
        assert!(matches!(with("acks", "1"), Err(SettingsError::Reserved(_))));
        assert!(matches!(with("enable.auto.commit", "true"), Err(SettingsError::Reserved(_))));
    }

    #[test]
    fn tls_needs_a_build_that_has_it() {
        for (name, value) in [
            ("security.protocol", "SASL_SSL"),
            ("ssl.ca.location", "/etc/ca.pem"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
        ] {
            assert_eq!(with(name, value).is_err(), !HAS_TLS, "{name}");
        }
        with("security.protocol", "sasl_plaintext").unwrap();
    }

    #[test]
    fn a_secret_is_not_repeated_in_an_error() {
        if let Err(error) = with("ssl.key.password", "hunter2") {
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
