//! The promises of the order log on a real broker, and what only this engine promises.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use panicbuy_test_servers::{OwnServers, own_name, own_ports, shared};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    message::Headers,
};
use tokio::time::Instant;

use super::{KafkaOrderLog, KafkaOrderLogReader, KafkaSettings, StartError, TopicError, producer::Outgoing};
use crate::{
    domain::OrderId,
    order_log::{
        conformance::{Fixture, append, conformance, orders, positions, read, reservation, wait_for},
        port::{OrderLog, OrderLogReader, Position},
        record,
    },
};

/// A topic of a test's own.
pub(super) struct Topic {
    pub log: KafkaOrderLog,
}

pub(super) fn settings(brokers: &str) -> KafkaSettings {
    let name = own_name();
    KafkaSettings {
        dead_letter_topic: format!("{name}.dead"),
        group: name.clone(),
        topic: name,
        partitions: 4,
        ..KafkaSettings::new(brokers)
    }
}

pub(super) async fn open() -> Topic {
    Topic { log: KafkaOrderLog::start(settings(&shared().kafka_brokers)).await.unwrap() }
}

fn admin(brokers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap()
}

#[async_trait]
impl Fixture for Topic {
    fn log(&self) -> &dyn OrderLog {
        &self.log
    }

    async fn reader(&self) -> Box<dyn OrderLogReader> {
        Box::new(self.log.reader().unwrap())
    }

    async fn append_raw(&self, payload: &str) {
        let topic = &self.log.settings.topic;
        self.log.producer.send(Outgoing { topic, key: "promo:4", payload, headers: None }).await.unwrap();
    }

    async fn dead_letters(&self) -> Vec<(String, String)> {
        let (brokers, topic) =
            (self.log.settings.brokers.clone(), self.log.settings.dead_letter_topic.clone());
        tokio::task::spawn_blocking(move || dead_letters(&brokers, &topic)).await.unwrap()
    }

    async fn close(self) {
        let KafkaSettings { brokers, topic, dead_letter_topic, .. } = self.log.settings.clone();
        drop(self);
        admin(&brokers).delete_topics(&[&topic, &dead_letter_topic], &AdminOptions::new()).await.unwrap();
    }
}

/// Everything in the one partition of the dead-letter topic, as a stranger reads it.
fn dead_letters(brokers: &str, topic: &str) -> Vec<(String, String)> {
    let mut config = ClientConfig::new();
    let consumer: BaseConsumer =
        config.set("bootstrap.servers", brokers).set("group.id", topic).create().unwrap();
    let within = Duration::from_secs(10);
    let (_, end) = consumer.fetch_watermarks(topic, 0, within).unwrap();
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&partitions).unwrap();
    let begun = std::time::Instant::now();
    let mut letters = Vec::new();
    while i64::try_from(letters.len()).unwrap() < end {
        assert!(begun.elapsed() < within, "the dead letters cannot be read");
        let Some(message) = consumer.poll(within) else { continue };
        let message = message.unwrap();
        let headers = message.headers().unwrap();
        let reason = headers.iter().find(|header| header.key == "reason").unwrap().value.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        letters.push((text(message.payload().unwrap()), text(reason)));
    }
    letters
}

conformance!(open);

/// Reads for a moment; returns the orders that came.
async fn glance(reader: &mut KafkaOrderLogReader) -> (Vec<OrderId>, Vec<Position>) {
    let batch = reader.read(1000, Duration::from_millis(50)).await.unwrap();
    (orders(&batch), positions(&batch))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_share_the_log_and_one_that_leaves_loses_nothing() {
    let topic = open().await;
    let (mut stays, mut leaves) = (topic.log.reader().unwrap(), topic.log.reader().unwrap());
    let mut appended: BTreeSet<OrderId> = BTreeSet::new();
    let mut seen: BTreeSet<OrderId> = BTreeSet::new();
    let mut taken_along = Vec::new();
    let begun = Instant::now();
    // Until both have something: the one settles what it reads, the other does not.
    while seen.is_empty() || taken_along.is_empty() {
        assert!(begun.elapsed() < Duration::from_mins(1), "the partitions are not shared");
        appended.extend(append(&topic.log, 0..12).await);
        let (batch, at) = glance(&mut stays).await;
        stays.commit(&at).await.unwrap();
        seen.extend(batch);
        taken_along.extend(glance(&mut leaves).await.0);
    }
    let left = Instant::now();
    drop(leaves);
    while seen != appended {
        assert!(left.elapsed() < Duration::from_secs(30), "{} of {}", seen.len(), appended.len());
        let (batch, at) = glance(&mut stays).await;
        stays.commit(&at).await.unwrap();
        seen.extend(batch);
    }
    // Whoever leaves says so; only the silent are waited for.
    assert!(left.elapsed() < topic.log.settings.session_timeout, "took over after {:?}", left.elapsed());
    wait_for("the brokers to know what is settled", || async { lag(&topic.log).await == 0 }).await;
    drop(stays);
    topic.close().await;
}

/// Orders of one pool that come at the same time share messages. A part of one is never handed out, since it could not be
/// committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_come_together_share_messages_and_none_is_lost() {
    const ORDERS: usize = 600;
    let topic = open().await;
    let reservations: Vec<_> = (0..ORDERS).map(|_| reservation(1)).collect();
    let appends = reservations.iter().map(|order| topic.log.append(order));
    futures_util::future::try_join_all(appends).await.unwrap();
    let messages = lag(&topic.log).await;
    assert!(messages <= 10, "{messages} messages for {ORDERS} records");

    let mut reader = topic.log.reader().unwrap();
    let settled = reader.read(10, Duration::from_secs(30)).await.unwrap();
    reader.commit(&positions(&settled)).await.unwrap();
    // The next one is read, and lost with its reader.
    assert_ne!(glance(&mut reader).await.0, []);
    drop(reader);
    assert_eq!(lag(&topic.log).await, messages - 1);
    let rest = read(&mut topic.log.reader().unwrap(), ORDERS - settled.len()).await;
    let seen: BTreeSet<_> = orders(&settled).into_iter().chain(orders(&rest)).collect();
    assert!(reservations.iter().all(|order| seen.contains(&order.order_id)));
    topic.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_record_does_not_harm_those_beside_it() {
    let topic = open().await;
    let (one, other) = (reservation(4), reservation(4));
    topic.append_raw(&[record::encode(&one), "noise".into(), record::encode(&other)].join("\n")).await;
    let mut reader = topic.log.reader().unwrap();
    let read: Vec<_> = read(&mut reader, 3).await.into_iter().map(|entry| entry.record).collect();
    assert_eq!((read[0].as_ref(), read[2].as_ref()), (Ok(&one), Ok(&other)));
    assert_eq!(read[1].as_ref().unwrap_err().payload, "noise");
    drop(reader);
    topic.close().await;
}

/// What is not settled at this moment.
async fn lag(log: &KafkaOrderLog) -> u64 {
    let offsets = Arc::clone(&log.offsets);
    tokio::task::spawn_blocking(move || offsets.lag()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_commit_does_not_set_back_who_took_over() {
    let topic = open().await;
    let mut early = topic.log.reader().unwrap();
    let appended = append(&topic.log, (0..60).map(|turn| turn % 12)).await;
    let in_hand = read(&mut early, appended.len()).await;

    // A second reader comes while the batch is in hand, takes over partitions, reads them again and settles them.
    let mut late = topic.log.reader().unwrap();
    let mut taken_over = BTreeSet::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_mins(1) && taken_over.len() < 2 {
        assert_eq!(glance(&mut early).await.0, [], "what was kept is not read again");
        let (_, at) = glance(&mut late).await;
        late.commit(&at).await.unwrap();
        taken_over.extend(at.iter().map(|at| at.partition));
    }
    assert_eq!(taken_over.len(), 2, "two of four partitions move");
    let before = lag(&topic.log).await;
    let first = in_hand.iter().filter(|entry| taken_over.contains(&entry.position.partition)).take(1);
    early.commit(&first.map(|entry| entry.position).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(lag(&topic.log).await, before, "another's commit stands");

    // The rest of the batch was kept all the time, and is committed.
    early.commit(&positions(&in_hand)).await.unwrap();
    while lag(&topic.log).await > 0 {
        assert!(begun.elapsed() < Duration::from_mins(2), "a kept partition was not committed");
        glance(&mut early).await;
        let (_, at) = glance(&mut late).await;
        late.commit(&at).await.unwrap();
    }
    drop((early, late));
    topic.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_stands_still_or_dies_is_noticed_and_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let servers = Arc::new(OwnServers::start_only(folder.path(), own_ports(2), &["kafka"]));
    let settings = KafkaSettings {
        delivery_timeout: Duration::from_secs(2),
        ..settings(&servers.servers.kafka_brokers)
    };
    let log = Arc::new(KafkaOrderLog::start(settings).await.unwrap());
    let mut reader = log.reader().unwrap();
    let mut seen = Vec::new();
    for (trouble, cure) in [("pause", "resume"), ("kill", "start")] {
        let expected = append(log.as_ref(), [1, 2, 3]).await;
        read_until(&mut reader, &expected, &mut seen).await;

        tell(&servers, trouble).await;
        let gone = Instant::now();
        wait_for("the log to be not well though nobody orders", || async { !log.is_well() }).await;
        assert!(gone.elapsed() < Duration::from_secs(4), "noticed after {:?}", gone.elapsed());
        let begun = Instant::now();
        log.append(&reservation(1)).await.unwrap_err();
        assert!(begun.elapsed() < log.append_bound(), "failed after {:?}", begun.elapsed());

        tell(&servers, cure).await;
        let back = Instant::now();
        wait_for("the log to be well though nobody orders", || async { log.is_well() }).await;
        assert!(back.elapsed() < Duration::from_secs(5), "noticed after {:?}", back.elapsed());
        let expected = append(log.as_ref(), [1, 2, 3]).await;
        read_until(&mut reader, &expected, &mut seen).await;
    }
    // Ends that cannot say goodbye do not hold up an async thread.
    tell(&servers, "pause").await;
    let begun = Instant::now();
    drop(reader);
    drop(log);
    assert!(begun.elapsed() < Duration::from_millis(100), "dropped in {:?}", begun.elapsed());
    tell(&servers, "resume").await;
}

async fn tell(servers: &Arc<OwnServers>, verb: &'static str) {
    let servers = Arc::clone(servers);
    tokio::task::spawn_blocking(move || servers.tell(verb, "kafka")).await.unwrap();
}

/// Reads and commits until all of `expected` came, among what came before.
async fn read_until(reader: &mut KafkaOrderLogReader, expected: &[OrderId], seen: &mut Vec<OrderId>) {
    let begun = Instant::now();
    while !expected.iter().all(|order| seen.contains(order)) {
        assert!(begun.elapsed() < Duration::from_mins(1), "reading did not go on");
        let (batch, at) = glance(reader).await;
        reader.commit(&at).await.unwrap();
        seen.extend(batch);
    }
}

#[tokio::test]
async fn brokers_that_are_not_there_are_waited_for_within_bounds() {
    // A port that nobody listens on.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let second = Duration::from_secs(1);
    let settings = KafkaSettings {
        start_within: second,
        request_timeout: second,
        ..settings(&format!("127.0.0.1:{port}"))
    };
    let begun = Instant::now();
    let error = KafkaOrderLog::start(settings).await.unwrap_err();
    assert!(matches!(error, StartError::NotServing { .. }), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "gave up after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_used_as_it_is_unless_it_forgets() {
    let settings = settings(&shared().kafka_brokers);
    let admin = admin(&settings.brokers);
    let narrow = NewTopic::new(&settings.topic, 1, TopicReplication::Fixed(1));
    let forgetful = NewTopic::new(&settings.dead_letter_topic, 1, TopicReplication::Fixed(1))
        .set("cleanup.policy", "compact");
    for created in admin.create_topics([&narrow, &forgetful], &AdminOptions::new()).await.unwrap() {
        created.unwrap();
    }
    let log = KafkaOrderLog::start(settings.clone()).await.unwrap();
    append(&log, [1, 2, 3]).await;
    let mut reader = log.reader().unwrap();
    assert!(read(&mut reader, 3).await.iter().all(|entry| entry.position.partition == 0));

    let swapped = KafkaSettings {
        topic: settings.dead_letter_topic.clone(),
        dead_letter_topic: settings.topic.clone(),
        ..settings.clone()
    };
    let error = KafkaOrderLog::start(swapped).await.unwrap_err();
    assert!(matches!(error, StartError::NotServing { source: TopicError::Compacted(_), .. }), "{error}");
    drop(reader);
    Topic { log }.close().await;
}
