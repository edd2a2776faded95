//! The reading end: one member of the group of order writers.
//!
//! rdkafka's `StreamConsumer` has been seen to stop for ever (its issues 638 and 665), because it depends on being woken. So
//! the member is a plain consumer that lives on a thread of its own ([`member`]), is asked for a batch at a time and polls until it has
//! one: nothing needs to wake it. Polling only when asked is on purpose too. A writer that is stuck with a batch stops
//! polling and loses its partitions after `settle_within`, so that others, who may have better luck, get them.
//!
//! The thread ends with the reader, and leaves the group on its way, so that a rolling restart moves partitions at once. It is one
//! of the runtime's blocking threads: a runtime that shuts down waits for it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rdkafka::{
    error::KafkaResult,
    message::{Header, OwnedHeaders},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    blocking,
    offsets::Offsets,
    producer::{Outgoing, Producer},
    settings::KafkaSettings,
};
use crate::{
    domain::Timestamp,
    order_log::port::{Entry, LogError, OrderLogReader, Poison, Position},
};

use member::{Command, Member};

mod member;

/// Commands that may wait for the member's thread: those of calls that were given up, and the present one.
const COMMANDS_MAX: usize = 4;

/// The backlog is asked for no more often than this: it costs a few round trips.
const LAG_EVERY: Duration = Duration::from_secs(1);

/// The reading end.
#[derive(Debug)]
pub struct KafkaOrderLogReader {
    commands: mpsc::Sender<Command>,
    producer: Arc<Producer>,
    offsets: Arc<Offsets>,
    dead_letter_topic: String,
    lag: Option<(Instant, u64)>,
}

impl KafkaOrderLogReader {
    /// Joins the group with the first read.
    pub(super) fn start(
        settings: &KafkaSettings,
        producer: Arc<Producer>,
        offsets: Arc<Offsets>,
    ) -> KafkaResult<Self> {
        let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
        let member = Member::new(settings, Arc::clone(&offsets))?;
        tokio::task::spawn_blocking(move || member.run(inbox));
        let dead_letter_topic = settings.dead_letter_topic.clone();
        Ok(Self { commands, producer, offsets, dead_letter_topic, lag: None })
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, LogError> {
        let ended = || LogError("the reader has ended".to_owned());
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }
}

#[async_trait]
impl OrderLogReader for KafkaOrderLogReader {
    /// Takes what is there without waiting for more. What a call that was given up had fetched comes with the next.
    async fn read(&mut self, limit: u32, wait: Duration) -> Result<Vec<Entry>, LogError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.ask(|reply| Command::Read { limit, wait, reply }).await?
    }

    /// A record in the dead-letter topic, under the buried one's position. Buried twice, it is there twice.
    async fn bury(&mut self, position: Position, poison: &Poison, now: Timestamp) -> Result<(), LogError> {
        let buried_at = now.as_millis().to_string();
        let mut headers = OwnedHeaders::new()
            .insert(Header { key: "reason", value: Some(&poison.reason) })
            .insert(Header { key: "buried_at_ms", value: Some(&buried_at) });
        if let Some((pool, order)) = &poison.order {
            headers = headers
                .insert(Header { key: "pool", value: Some(&pool.to_string()) })
                .insert(Header { key: "order_id", value: Some(&order.to_string()) });
        }
        let letter = Outgoing {
            topic: &self.dead_letter_topic,
            key: &position.to_string(),
            payload: &poison.payload,
            headers: Some(headers),
        };
        self.producer.send(letter).await
    }

    /// The brokers hear of it within a fraction of a second, and what they do not take then, in a rebalance or without a
    /// coordinator, is committed again by itself. Only a reader that dies before reads it again.
    async fn commit(&mut self, batch: &[Position]) -> Result<(), LogError> {
        let batch = batch.to_vec();
        self.ask(|reply| Command::Commit { batch, reply }).await
    }

    /// At most a second old.
    async fn lag(&mut self) -> Result<u64, LogError> {
        if let Some((asked, lag)) = self.lag
            && asked.elapsed() < LAG_EVERY
        {
            return Ok(lag);
        }
        let offsets = Arc::clone(&self.offsets);
        let lag = blocking(move || offsets.lag()).await?;
        self.lag = Some((Instant::now(), lag));
        Ok(lag)
    }
}
