//! The appending end: records to topics, with one answer for each.
//!
//! Knows librdkafka's producer. Every record holds one of the places in flight from its enqueuing to its delivery, whether or
//! not its caller still waits, so that what the producer holds is bounded.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::RwLock;
use rdkafka::{
    ClientConfig, ClientContext,
    config::RDKafkaLogLevel,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::OwnedHeaders,
    metadata::MetadataTopic,
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{context::Lines, health::Health, off_thread, settings::KafkaSettings};
use crate::order_log::port::LogError;

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
    client: RwLock<Option<Arc<Client>>>,
    config: ClientConfig,
    room: Arc<Semaphore>,
    room_within: Duration,
    topic: String,
    /// In-sync replicas that the topic asks of each partition.
    in_sync_min: usize,
    health: Arc<Health>,
}

/// A record's place among those in flight, and who waits for it.
struct InFlight {
    answer: oneshot::Sender<KafkaResult<()>>,
    _place: OwnedSemaphorePermit,
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

    fn delivery(&self, delivered: &DeliveryResult<'_>, record: Box<InFlight>) {
        let delivered = match delivered {
            Ok(_) => {
                self.health.delivered();
                Ok(())
            }
            Err((error, _)) => {
                if !is_purged(error) {
                    self.health.failed(error);
                }
                Err(error.clone())
            }
        };
        // Who no longer waits has its order relayed, or repeats its request.
        let _ = record.answer.send(delivered);
    }
}

/// Whether the record was dropped with its producer, which says nothing about the brokers.
fn is_purged(error: &KafkaError) -> bool {
    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight))
}

impl Producer {
    pub fn start(settings: &KafkaSettings, in_sync_min: usize, health: Arc<Health>) -> KafkaResult<Self> {
        let config = settings.producer();
        let client = connect(&config, &health)?;
        Ok(Self {
            client: RwLock::new(Some(Arc::new(client))),
            config,
            room: Arc::new(Semaphore::new(settings.max_in_flight)),
            room_within: settings.delivery_timeout,
            topic: settings.topic.clone(),
            in_sync_min,
            health,
        })
    }

    /// Sends a record; returns once every in-sync replica has it.
    pub async fn send(&self, record: Outgoing<'_>) -> Result<(), LogError> {
        let place = tokio::time::timeout(self.room_within, Arc::clone(&self.room).acquire_owned())
            .await
            .map_err(|_| LogError("too many records are on their way".to_owned()))?
            .map_err(|_| closed())?;
        let delivered = self.enqueue(record, place)?;
        delivered.await.map_err(|_| closed())?.map_err(LogError::from)
    }

    fn enqueue(
        &self,
        record: Outgoing<'_>,
        place: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<KafkaResult<()>>, LogError> {
        let (answer, delivered) = oneshot::channel();
        let in_flight = Box::new(InFlight { answer, _place: place });
        let mut message =
            BaseRecord::with_opaque_to(record.topic, in_flight).key(record.key).payload(record.payload);
        message.headers = record.headers;
        let client = self.client.read().clone().ok_or_else(closed)?;
        match client.send(message) {
            Ok(()) => Ok(delivered),
            Err((error, _)) => {
                self.health.failed(&error);
                Err(error.into())
            }
        }
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
        let client = self.client.get_mut().take();
        off_thread(move || {
            if let Some(client) = client {
                let _ = client.flush(FLUSH_WITHIN);
            }
        });
    }
}
