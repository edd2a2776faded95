//! The appending end: records to topics, with one answer for each.
//!
//! Knows librdkafka's producer; [`rounds`] decides what goes to it when. Every record holds one of the places in flight from
//! its enqueuing to its delivery, whether or not its caller still waits, so that what the producer holds is bounded.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::RwLock;
use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::OwnedHeaders,
    metadata::MetadataTopic,
    producer::{DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::Instant,
};

use super::{context::Lines, health::Health, off_thread, settings::KafkaSettings};
use crate::order_log::port::LogError;

use rounds::{Caller, InFlight, Waiting, send_rounds};

mod rounds;

/// How long brokers may take to answer a probe.
const PROBE_WITHIN: Duration = Duration::from_secs(1);

/// How long records under way are waited for when the producer ends.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

type Client = ThreadedProducer<Deliveries>;

/// A record on its way to a topic.
pub(super) struct Outgoing<'a> {
    pub topic: &'a str,
    pub key: &'a str,
    pub payload: &'a str,
    pub headers: Option<OwnedHeaders>,
}

/// A producer that is replaced when it has failed for good.
pub(super) struct Producer {
    /// None only while it is dropped.
    client: Arc<RwLock<Option<Arc<Client>>>>,
    config: ClientConfig,
    room: Arc<Semaphore>,
    room_within: Duration,
    /// Bounded by the places in `room`.
    waiting: mpsc::UnboundedSender<Waiting>,
    topic: String,
    /// In-sync replicas that the topic asks of each partition.
    in_sync_min: usize,
    health: Arc<Health>,
}

/// Receives what became of records.
struct Deliveries {
    health: Arc<Health>,
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        Lines.log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            self.health.failed(&reason);
        }
        Lines.error(error, reason);
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<InFlight>;

    fn delivery(&self, delivered: &DeliveryResult<'_>, message: Box<InFlight>) {
        let delivered = match delivered {
            Ok(_) => {
                self.health.delivered();
                Ok(())
            }
            Err((error, _)) => {
                if !is_purged(error) {
                    self.health.failed(error);
                }
                Err(LogError::from(error.clone()))
            }
        };
        message.answer(&delivered);
    }
}

/// Whether the record was dropped with its producer, which says nothing about the brokers.
fn is_purged(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

impl Producer {
    pub fn start(settings: &KafkaSettings, in_sync_min: usize, health: Arc<Health>) -> KafkaResult<Self> {
        let config = settings.producer();
        let client = Arc::new(RwLock::new(Some(Arc::new(connect(&config, &health)?))));
        let (waiting, rounds) = mpsc::unbounded_channel();
        tokio::spawn(send_rounds(Arc::clone(&client), Arc::clone(&health), rounds));
        Ok(Self {
            client,
            config,
            room: Arc::new(Semaphore::new(settings.max_in_flight)),
            room_within: settings.delivery_timeout,
            waiting,
            topic: settings.topic.clone(),
            in_sync_min,
            health,
        })
    }

    /// Sends a record; returns once every in-sync replica has it. It waits for room and its round for as long, together,
    /// as it may then be on its way.
    pub async fn send(&self, record: Outgoing<'_>) -> Result<(), LogError> {
        let until = Instant::now() + self.room_within;
        let place = tokio::time::timeout_at(until, Arc::clone(&self.room).acquire_owned())
            .await
            .map_err(|_| no_room())?
            .map_err(|_| closed())?;
        let (answer, delivered) = oneshot::channel();
        let Outgoing { topic, key, payload, headers } = record;
        let (topic, key, payload) = (topic.to_owned(), key.to_owned(), payload.to_owned());
        let caller = Caller { answer, until, _place: place };
        let record = Waiting { topic, key, payload, headers, caller };
        self.waiting.send(record).map_err(|_| closed())?;
        delivered.await.map_err(|_| closed())?
    }

    /// Asks the brokers whether they are there, and, if there was trouble, whether every partition would take a record.
    /// Blocks for a second at most.
    pub fn probe(&self) -> Result<(), ProbeError> {
        let Some(client) = self.client.read().clone() else { return Ok(()) };
        if let Some((_, reason)) = client.client().fatal_error() {
            tracing::error!(reason, "the Kafka producer has failed for good and is replaced");
            let replaced = connect(&self.config, &self.health)?;
            *self.client.write() = Some(Arc::new(replaced));
            return Err(ProbeError::Replaced);
        }
        let metadata = client.client().fetch_metadata(Some(&self.topic), PROBE_WITHIN)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let topic = topic.filter(|topic| topic.error().is_none()).ok_or(ProbeError::NoTopic)?;
        if self.health.is_well() || takes_orders(topic, self.in_sync_min) {
            Ok(())
        } else {
            Err(ProbeError::TooFewReplicas)
        }
    }
}

/// The brokers cannot take orders.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProbeError {
    #[error(transparent)]
    Kafka(#[from] KafkaError),
    #[error("the topic is gone")]
    NoTopic,
    #[error("a partition has no leader, or fewer in-sync replicas than the topic asks for")]
    TooFewReplicas,
    #[error("the producer was replaced")]
    Replaced,
}

fn takes_orders(topic: &MetadataTopic, in_sync_min: usize) -> bool {
    topic.partitions().iter().all(|partition| partition.leader() >= 0 && partition.isr().len() >= in_sync_min)
}

fn connect(config: &ClientConfig, health: &Arc<Health>) -> KafkaResult<Client> {
    config.create_with_context(Deliveries { health: Arc::clone(health) })
}

fn no_room() -> LogError {
    LogError("too many records are on their way".to_owned())
}

fn closed() -> LogError {
    LogError("the log is closed".to_owned())
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        let client = self.client.write().take();
        off_thread(move || {
            if let Some(client) = client {
                let _ = client.flush(FLUSH_WITHIN);
            }
        });
    }
}
