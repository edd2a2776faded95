//! A member of the group, on a thread where it may block.
//!
//! Everything happens on this one thread, rebalances included, so what is committed and what is owned never disagree.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use rdkafka::{
    ClientConfig, ClientContext, Message, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance},
    error::{KafkaError, KafkaResult},
    message::BorrowedMessage,
};
use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};

use crate::{
    order_log::{
        kafka::{SEPARATOR, context::Lines, offsets::Offsets, ownership::Ownership, settings::KafkaSettings},
        port::{Entry, LogError, Poison, Position},
        record,
    },
    reservation::port::Reservation,
};

/// How long one poll waits: a call that was given up ends so soon.
const POLL: Duration = Duration::from_millis(100);

/// The brokers are told what is settled no more often than this: a commit is a record for them to write, and what a writer
/// that dies has not told them is read again without harm.
const COMMIT_EVERY: Duration = Duration::from_millis(200);

/// What the reader asks for.
#[derive(Debug)]
pub(super) enum Command {
    Read { limit: usize, wait: Duration, reply: oneshot::Sender<Result<Vec<Entry>, LogError>> },
    Commit { batch: Vec<Position>, reply: oneshot::Sender<()> },
}

/// The consumer and what it has in hand.
pub(super) struct Member {
    consumer: Group,
    config: ClientConfig,
    topic: String,
    ownership: Arc<Mutex<Ownership>>,
    /// Fetched for a call that was given up.
    ready: VecDeque<Entry>,
    /// Whether it has asked for partitions.
    joined: bool,
    committed_at: Instant,
    offsets: Arc<Offsets>,
    stall_after: Duration,
    /// Since when nothing came, or the last look whether that is a stall.
    quiet_since: Instant,
    /// Partitions that had more than was read at the last look.
    behind: Vec<i32>,
}

type Group = BaseConsumer<Rebalances>;

/// Learns which partitions come and go.
pub(super) struct Rebalances {
    topic: String,
    ownership: Arc<Mutex<Ownership>>,
}

impl ClientContext for Rebalances {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        Lines.log(level, fac, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        Lines.error(error, reason);
    }
}

impl ConsumerContext for Rebalances {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let partitions = |list: &TopicPartitionList| -> Vec<i32> {
            list.elements()
                .iter()
                .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
                .collect()
        };
        match rebalance {
            Rebalance::Assign(list) => {
                let partitions = partitions(list);
                tracing::info!(?partitions, "partitions of the order log were assigned");
                let mut ownership = self.ownership.lock();
                for partition in partitions {
                    ownership.assigned(partition);
                }
            }
            Rebalance::Revoke(list) => {
                let partitions = partitions(list);
                tracing::info!(?partitions, "partitions of the order log were taken away");
                let mut ownership = self.ownership.lock();
                let mut settled = ownership.uncommitted();
                settled.retain(|at| partitions.contains(&at.partition));
                // Whoever takes over reads what the brokers do not know to be settled once more.
                if !settled.is_empty()
                    && let Err(error) = send_commit(consumer, &self.topic, &settled)
                {
                    tracing::info!(%error, "what was settled of them last will be read again");
                }
                for partition in partitions {
                    ownership.revoked(partition);
                }
            }
            Rebalance::Error(error) => tracing::warn!(%error, "a rebalance of the order log failed"),
        }
    }
}

impl Member {
    pub fn new(settings: &KafkaSettings, offsets: Arc<Offsets>) -> KafkaResult<Self> {
        let ownership = Arc::default();
        let config = settings.member();
        Ok(Self {
            consumer: connect(&config, &settings.topic, &ownership)?,
            config,
            topic: settings.topic.clone(),
            ownership,
            ready: VecDeque::new(),
            joined: false,
            committed_at: Instant::now(),
            offsets,
            stall_after: settings.stall_after,
            quiet_since: Instant::now(),
            behind: Vec::new(),
        })
    }

    /// Does what the reader asks for until it is dropped, and leaves the group.
    pub fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = self.next(&mut commands) {
            match command {
                Command::Read { limit, wait, reply } => {
                    let read = self.read(limit, wait, &reply);
                    if let Err(Ok(unread)) = reply.send(read) {
                        unread.into_iter().rev().for_each(|entry| self.ready.push_front(entry));
                    }
                }
                Command::Commit { batch, reply } => {
                    self.settle(&batch);
                    // Who no longer waits is none the worse.
                    let _ = reply.send(());
                }
            }
        }
        self.commit();
    }

    /// The next command. What is settled is told to the brokers in time, though none comes.
    fn next(&mut self, commands: &mut mpsc::Receiver<Command>) -> Option<Command> {
        while self.ownership.lock().has_uncommitted() {
            let left = COMMIT_EVERY.saturating_sub(self.committed_at.elapsed());
            let next = async { tokio::time::timeout(left, commands.recv()).await };
            match Handle::current().block_on(next) {
                Ok(command) => return command,
                Err(_) => self.commit(),
            }
        }
        commands.blocking_recv()
    }

    fn read(
        &mut self,
        limit: usize,
        wait: Duration,
        reply: &oneshot::Sender<Result<Vec<Entry>, LogError>>,
    ) -> Result<Vec<Entry>, LogError> {
        if !self.joined {
            self.consumer.subscribe(&[&self.topic])?;
            self.joined = true;
        }
        let until = Instant::now() + wait;
        while self.ready.len() < limit && !reply.is_closed() {
            let left = match self.ready.len() {
                0 => until.saturating_duration_since(Instant::now()),
                _ => Duration::ZERO,
            };
            match self.consumer.poll(left.min(POLL)).map(|polled| polled.map(|message| entries(&message))) {
                Some(Ok(entries)) => self.take(entries),
                Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                    self.rejoin()?;
                    return Err(error.into());
                }
                // The context has told of it, and librdkafka goes on by itself.
                Some(Err(_)) => {}
                None if left.is_zero() => break,
                None => self.look_after()?,
            }
        }
        Ok(self.ready.drain(..whole_messages(&self.ready, limit)).collect())
    }

    fn take(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            self.ownership.lock().read(entry.position);
            self.ready.push_back(entry);
        }
        self.quiet_since = Instant::now();
        self.behind.clear();
    }

    fn settle(&mut self, batch: &[Position]) {
        let lost: Vec<i32> = {
            let mut ownership = self.ownership.lock();
            let lost = batch.iter().filter(|&&position| !ownership.settled(position));
            lost.map(|position| position.partition).collect()
        };
        if !lost.is_empty() {
            let records = lost.len();
            tracing::info!(records, "settled records of partitions that were taken away will be read again");
        }
        self.commit_if_due();
    }

    fn commit_if_due(&mut self) {
        if self.committed_at.elapsed() >= COMMIT_EVERY {
            self.commit();
        }
    }

    /// Tells the brokers what is settled. What they do not take stays to be committed, until its partition is lost.
    fn commit(&mut self) {
        let offsets = self.ownership.lock().uncommitted();
        if offsets.is_empty() {
            return;
        }
        self.committed_at = Instant::now();
        match send_commit(&self.consumer, &self.topic, &offsets) {
            Ok(()) => self.ownership.lock().committed(&offsets),
            Err(error) => tracing::warn!(%error, "settled records could not be committed; it is tried again"),
        }
    }

    /// What there is time for while no record comes.
    fn look_after(&mut self) -> KafkaResult<()> {
        self.commit_if_due();
        if self.quiet_since.elapsed() < self.stall_after {
            return Ok(());
        }
        self.quiet_since = Instant::now();
        let before = std::mem::take(&mut self.behind);
        // Brokers that do not answer are no stall.
        self.behind = self.find_behind().unwrap_or_default();
        if self.behind.iter().any(|partition| before.contains(partition)) {
            tracing::error!(partitions = ?self.behind, "reading the order log has stalled; it is begun anew");
            self.rejoin()?;
        }
        Ok(())
    }

    /// The owned partitions that have more than was read.
    fn find_behind(&self) -> KafkaResult<Vec<i32>> {
        let reached: Vec<_> = self.ownership.lock().reached().collect();
        let (bounds, committed) = (self.offsets.bounds()?, self.offsets.committed()?);
        let behind = reached.into_iter().filter(|(partition, next)| {
            bounds.get(partition).is_some_and(|bounds| {
                next.unwrap_or_else(|| bounds.start(committed.get(partition))) < bounds.high
            })
        });
        Ok(behind.map(|(partition, _)| partition).collect())
    }

    /// Leaves the group and joins it as somebody new.
    fn rejoin(&mut self) -> KafkaResult<()> {
        metrics::counter!("panicbuy_log_reader_restarts_total").increment(1);
        self.joined = false;
        self.behind.clear();
        // The old one leaves here, and gives up its partitions.
        self.consumer = connect(&self.config, &self.topic, &self.ownership)?;
        self.ownership.lock().clear();
        self.consumer.subscribe(&[&self.topic])?;
        self.joined = true;
        Ok(())
    }
}

fn send_commit(consumer: &Group, topic: &str, offsets: &[Position]) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for at in offsets {
        list.add_partition_offset(topic, at.partition, Offset::Offset(at.offset))?;
    }
    consumer.commit(&list, CommitMode::Sync)
}

fn connect(config: &ClientConfig, topic: &str, ownership: &Arc<Mutex<Ownership>>) -> KafkaResult<Group> {
    config.create_with_context(Rebalances { topic: topic.to_owned(), ownership: Arc::clone(ownership) })
}

/// The records of a message; one at least, and be it poison, so that its offset is settled like any other.
fn entries(message: &BorrowedMessage<'_>) -> Vec<Entry> {
    let position = Position { partition: message.partition(), offset: message.offset() };
    let lines = message.payload().unwrap_or_default().split(|&byte| char::from(byte) == SEPARATOR);
    lines.map(|line| Entry { position, record: decode(line) }).collect()
}

fn decode(line: &[u8]) -> Result<Reservation, Poison> {
    match str::from_utf8(line) {
        Ok(line) => record::decode(line),
        Err(error) => Err(Poison {
            payload: String::from_utf8_lossy(line).into_owned(),
            reason: format!("unreadable: {error}"),
            order: None,
        }),
    }
}

/// How many of the next entries make up the most whole messages within `limit`, or the first message. A part of one could not be
/// committed.
fn whole_messages(ready: &VecDeque<Entry>, limit: usize) -> usize {
    let ends = |&taken: &usize| {
        taken == ready.len() || taken > 0 && ready[taken - 1].position != ready[taken].position
    };
    let within = (1..=limit.min(ready.len())).rev().find(ends);
    within.or_else(|| (1..=ready.len()).find(ends)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
