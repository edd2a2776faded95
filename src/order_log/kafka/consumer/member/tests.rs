//! What a member does when its client misbehaves.

use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use tokio::sync::oneshot;

use super::Member;
use crate::order_log::{
    conformance::{Fixture, append},
    kafka::tests::open,
    port::Entry,
};

fn read(member: &mut Member, wait: Duration) -> Vec<Entry> {
    let (reply, _answer) = oneshot::channel();
    member.read(100, wait, &reply).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_begins_anew() {
    let topic = open().await;
    append(&topic.log, [1]).await;
    let settings =
        super::KafkaSettings { stall_after: Duration::from_millis(300), ..topic.log.settings.clone() };
    let mut member = Member::new(&settings, topic.log.offsets.clone()).unwrap();
    let (mut member, first) = tokio::task::spawn_blocking(move || {
        let first = read(&mut member, Duration::from_secs(30));
        // A paused partition looks just like one that librdkafka has forgotten to fetch.
        member.consumer.pause(&member.consumer.assignment().unwrap()).unwrap();
        member.settle(&[first[0].position]);
        (member, first)
    })
    .await
    .unwrap();
    let appended = append(&topic.log, [1, 2]).await;
    let seen = tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let mut seen = Vec::new();
        while seen.len() < 2 && begun.elapsed() < Duration::from_secs(30) {
            seen.extend(read(&mut member, Duration::from_secs(5)));
        }
        seen
    })
    .await
    .unwrap();
    assert_eq!(first.len(), 1);
    let mut seen: Vec<_> = seen.into_iter().map(|entry| entry.record.unwrap().order_id).collect();
    seen.sort_unstable();
    assert_eq!(seen, appended);
    topic.close().await;
}
