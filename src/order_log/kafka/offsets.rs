//! How far the log reaches, and how far the order writers have come: asked of the brokers, as a stranger to the group.
//!
//! Every call blocks up to a few times `request_timeout`, so none is made on an async thread.

use std::{
    collections::BTreeMap,
    fmt, thread,
    time::{Duration, Instant},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};

use super::{context::Lines, off_thread, settings::KafkaSettings};
use crate::order_log::port::Position;

/// The pause before a question is asked again.
const RETRY_EVERY: Duration = Duration::from_millis(100);

/// Asks for offsets.
pub(super) struct Offsets {
    /// None only while it is dropped.
    observer: Option<BaseConsumer<Lines>>,
    topic: String,
    within: Duration,
}

/// What one partition holds: the offsets from `low` up to, but not including, `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub low: i64,
    pub high: i64,
}

impl Offsets {
    pub fn new(settings: &KafkaSettings) -> KafkaResult<Self> {
        let observer = settings.observer().create_with_context(Lines)?;
        Ok(Self { observer: Some(observer), topic: settings.topic.clone(), within: settings.request_timeout })
    }

    /// The end of every partition that holds anything.
    pub fn ends(&self) -> KafkaResult<Vec<Position>> {
        let held = self.bounds()?.into_iter().filter(|(_, bounds)| bounds.low < bounds.high);
        Ok(held.map(|(partition, bounds)| Position { partition, offset: bounds.high }).collect())
    }

    /// Records that are not settled, in all partitions.
    pub fn lag(&self) -> KafkaResult<u64> {
        let committed = self.committed()?;
        let bounds = self.bounds()?;
        let lag = |(partition, bounds): (i32, Bounds)| bounds.high - bounds.start(committed.get(&partition));
        Ok(bounds.into_iter().map(lag).map(|lag| u64::try_from(lag).unwrap_or(0)).sum())
    }

    /// What each partition holds.
    pub fn bounds(&self) -> KafkaResult<BTreeMap<i32, Bounds>> {
        self.insist(Self::ask_bounds)
    }

    /// Up to where the group has settled each partition; those it never has are not among them.
    pub fn committed(&self) -> KafkaResult<BTreeMap<i32, i64>> {
        self.insist(Self::ask_committed)
    }

    /// Asks again while a partition or the group is on its way from one broker to another, up to `request_timeout`.
    fn insist<T>(&self, ask: impl Fn(&Self) -> KafkaResult<T>) -> KafkaResult<T> {
        let until = Instant::now() + self.within;
        loop {
            match ask(self) {
                Err(error) if is_moving(&error) && Instant::now() < until => thread::sleep(RETRY_EVERY),
                answer => return answer,
            }
        }
    }

    fn ask_bounds(&self) -> KafkaResult<BTreeMap<i32, Bounds>> {
        let partitions = self.partitions()?;
        let lows = self.query(&partitions, Offset::Beginning)?;
        let highs = self.query(&partitions, Offset::End)?;
        let bounds = |(partition, low)| highs.get(&partition).map(|&high| (partition, Bounds { low, high }));
        Ok(lows.into_iter().filter_map(bounds).collect())
    }

    fn ask_committed(&self) -> KafkaResult<BTreeMap<i32, i64>> {
        let asked = self.list(&self.partitions()?, Offset::Invalid)?;
        let offsets = self.observer()?.committed_offsets(asked, self.within)?;
        known(&offsets)
    }

    fn partitions(&self) -> KafkaResult<Vec<i32>> {
        let observer = self.observer()?;
        // Takes log lines and errors out of the client's queue. A stranger to the group gets no records.
        while observer.poll(Duration::ZERO).is_some() {}
        let metadata = observer.fetch_metadata(Some(&self.topic), self.within)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let partitions: Vec<i32> = topic
            .into_iter()
            .flat_map(|topic| topic.partitions().iter().map(rdkafka::metadata::MetadataPartition::id))
            .collect();
        if partitions.is_empty() {
            return Err(KafkaError::MetadataFetch(RDKafkaErrorCode::UnknownTopicOrPartition));
        }
        Ok(partitions)
    }

    /// Offsets by time, where the times are the beginning and the end: one request for each broker.
    fn query(&self, partitions: &[i32], at: Offset) -> KafkaResult<BTreeMap<i32, i64>> {
        let answer = self.observer()?.offsets_for_times(self.list(partitions, at)?, self.within)?;
        known(&answer)
    }

    fn list(&self, partitions: &[i32], at: Offset) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for &partition in partitions {
            list.add_partition_offset(&self.topic, partition, at)?;
        }
        Ok(list)
    }

    fn observer(&self) -> KafkaResult<&BaseConsumer<Lines>> {
        self.observer.as_ref().ok_or(KafkaError::Canceled)
    }
}

impl Bounds {
    /// The first record that is not settled.
    pub fn start(self, committed: Option<&i64>) -> i64 {
        committed.map_or(self.low, |&committed| committed.max(self.low))
    }
}

/// Whether another broker is about to answer.
fn is_moving(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::NotLeaderForPartition
                | Code::LeaderNotAvailable
                | Code::OffsetNotAvailable
                | Code::NotCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
        )
    )
}

/// The offsets that are numbers; an error of one partition is an error of all.
fn known(list: &TopicPartitionList) -> KafkaResult<BTreeMap<i32, i64>> {
    let mut offsets = BTreeMap::new();
    for element in list.elements() {
        element.error()?;
        if let Offset::Offset(offset) = element.offset() {
            offsets.insert(element.partition(), offset);
        }
    }
    Ok(offsets)
}

impl fmt::Debug for Offsets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offsets").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Drop for Offsets {
    fn drop(&mut self) {
        let observer = self.observer.take();
        off_thread(move || drop(observer));
    }
}
