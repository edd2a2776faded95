//! What every engine of the order log promises, as functions over the port. An engine's tests give each function a fresh log.

use std::{collections::BTreeMap, future::Future, time::Duration};

use async_trait::async_trait;
use tokio::time::{Instant, timeout};

use super::{
    port::{Entry, OrderLog, OrderLogReader, Position},
    record,
};
use crate::{
    domain::{Epoch, ItemId, OrderId, PoolId, Price, PromoId, RequestId, Timestamp, UserId},
    random,
    reservation::port::Reservation,
};

/// Declares one test for every promise. `$open` gives a [`Fixture`] on an empty log.
macro_rules! conformance {
    ($open:path) => {
        $crate::order_log::conformance::conformance!(@ $open,
            records_of_a_pool_are_read_in_order,
            a_batch_is_no_larger_than_asked_for,
            an_empty_log_is_waited_for_and_no_longer,
            what_was_not_committed_is_read_again_by_the_next,
            what_was_committed_is_not_read_again,
            an_append_twice_is_two_records,
            a_read_that_was_given_up_loses_nothing,
            a_dead_letter_keeps_payload_and_reason,
            a_damaged_record_comes_as_poison_that_names_its_order,
            lag_counts_what_is_not_settled,
            an_end_is_settled_when_all_before_it_is,
        );
    };
    (@ $open:path, $($promise:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let fixture = $open().await;
                $crate::order_log::conformance::$promise(&fixture).await;
                fixture.close().await;
            }
        )*
    };
}
pub(super) use conformance;

/// How long anything may take.
const SOON: Duration = Duration::from_secs(30);

/// An empty log, and what the port does not show of it.
#[async_trait]
pub(super) trait Fixture: Sync {
    fn log(&self) -> &dyn OrderLog;

    async fn reader(&self) -> Box<dyn OrderLogReader>;

    /// A record that no version of this program has written.
    async fn append_raw(&self, payload: &str);

    /// Payload and reason of everything that was buried.
    async fn dead_letters(&self) -> Vec<(String, String)>;

    /// Clears away what a drop does not.
    async fn close(self);
}

pub(super) fn reservation(promo: i64) -> Reservation {
    Reservation {
        order_id: random::order_id(),
        request_id: RequestId(random::uuid()),
        user_id: UserId(3),
        pool: PoolId::Promo(PromoId(promo)),
        item_id: ItemId(5),
        quantity: 1,
        price: Price(900),
        payment_window_ms: 60_000,
        reserved_at: Timestamp::from_millis(1_795_341_600_000),
        epoch: Epoch::default(),
    }
}

/// Appends a record for each of `promos`, one after the other.
pub(super) async fn append(log: &dyn OrderLog, promos: impl IntoIterator<Item = i64>) -> Vec<OrderId> {
    let mut orders = Vec::new();
    for promo in promos {
        let reservation = reservation(promo);
        log.append(&reservation).await.unwrap();
        orders.push(reservation.order_id);
    }
    orders
}

/// Reads until there are `count` records.
pub(super) async fn read(reader: &mut dyn OrderLogReader, count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    let deadline = Instant::now() + SOON;
    while entries.len() < count {
        assert!(Instant::now() < deadline, "{} of {count} records came", entries.len());
        entries.extend(reader.read(1000, Duration::from_millis(500)).await.unwrap());
    }
    assert_eq!(entries.len(), count);
    entries
}

pub(super) fn orders(entries: &[Entry]) -> Vec<OrderId> {
    entries.iter().map(|entry| entry.record.as_ref().unwrap().order_id).collect()
}

pub(super) fn positions(entries: &[Entry]) -> Vec<Position> {
    entries.iter().map(|entry| entry.position).collect()
}

/// Waits until the condition holds.
pub(super) async fn wait_for<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let deadline = Instant::now() + SOON;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn records_of_a_pool_are_read_in_order(fixture: &impl Fixture) {
    let promos: Vec<i64> = (0..60).map(|turn| turn % 5).collect();
    let appended = append(fixture.log(), promos.iter().copied()).await;
    let mut reader = fixture.reader().await;
    let mut by_pool: BTreeMap<PoolId, Vec<OrderId>> = BTreeMap::new();
    for entry in read(reader.as_mut(), appended.len()).await {
        let reservation = entry.record.unwrap();
        by_pool.entry(reservation.pool).or_default().push(reservation.order_id);
    }
    for promo in 0..5 {
        let expected: Vec<OrderId> = appended.iter().copied().skip(promo).step_by(5).collect();
        let promo = i64::try_from(promo).unwrap();
        assert_eq!(by_pool[&PoolId::Promo(PromoId(promo))], expected);
    }
}

pub(super) async fn a_batch_is_no_larger_than_asked_for(fixture: &impl Fixture) {
    let appended = append(fixture.log(), [1; 10]).await;
    let mut reader = fixture.reader().await;
    let mut seen = Vec::new();
    while seen.len() < appended.len() {
        let batch = reader.read(3, SOON).await.unwrap();
        assert!((1..=3).contains(&batch.len()), "{} records", batch.len());
        seen.extend(orders(&batch));
    }
    assert_eq!(seen, appended);
}

pub(super) async fn an_empty_log_is_waited_for_and_no_longer(fixture: &impl Fixture) {
    let mut reader = fixture.reader().await;
    let begun = Instant::now();
    assert!(reader.read(10, Duration::from_millis(200)).await.unwrap().is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(190));
    let (waited, appended) = tokio::join!(reader.read(10, SOON), append(fixture.log(), [1]));
    // Woken for nothing is allowed, once.
    let batch = waited.unwrap();
    let batch = if batch.is_empty() { read(reader.as_mut(), 1).await } else { batch };
    assert_eq!(orders(&batch), appended);
    assert!(begun.elapsed() < SOON);
}

pub(super) async fn what_was_not_committed_is_read_again_by_the_next(fixture: &impl Fixture) {
    let appended = append(fixture.log(), [1; 10]).await;
    let mut first = fixture.reader().await;
    assert_eq!(orders(&read(first.as_mut(), 10).await), appended);
    drop(first);
    let mut second = fixture.reader().await;
    assert_eq!(orders(&read(second.as_mut(), 10).await), appended);
}

pub(super) async fn what_was_committed_is_not_read_again(fixture: &impl Fixture) {
    let appended = append(fixture.log(), [1; 10]).await;
    let mut first = fixture.reader().await;
    let batch = read(first.as_mut(), 10).await;
    first.commit(&positions(&batch[..6])).await.unwrap();
    drop(first);
    let mut second = fixture.reader().await;
    assert_eq!(orders(&read(second.as_mut(), 4).await), appended[6..]);
}

pub(super) async fn an_append_twice_is_two_records(fixture: &impl Fixture) {
    let twice = reservation(1);
    fixture.log().append(&twice).await.unwrap();
    fixture.log().append(&twice).await.unwrap();
    let mut reader = fixture.reader().await;
    for entry in read(reader.as_mut(), 2).await {
        assert_eq!(entry.record.unwrap(), twice);
    }
}

pub(super) async fn a_read_that_was_given_up_loses_nothing(fixture: &impl Fixture) {
    let mut reader = fixture.reader().await;
    let mut seen = Vec::new();
    let mut appended = Vec::new();
    let deadline = Instant::now() + SOON;
    while seen.is_empty() || seen.len() < appended.len() {
        assert!(Instant::now() < deadline, "{} of {} records came", seen.len(), appended.len());
        if appended.len() < 40 {
            appended.extend(append(fixture.log(), [1; 2]).await);
        }
        // Given up at moments that fall before, into and after the arrival of a record.
        let patience = Duration::from_millis(random::below(15));
        if let Ok(batch) = timeout(patience, reader.read(1, SOON)).await {
            seen.extend(orders(&batch.unwrap()));
        }
    }
    assert_eq!(seen, appended);
}

pub(super) async fn a_dead_letter_keeps_payload_and_reason(fixture: &impl Fixture) {
    fixture.append_raw("not json").await;
    let mut reader = fixture.reader().await;
    let batch = read(reader.as_mut(), 1).await;
    let poison = batch[0].record.as_ref().unwrap_err();
    assert_eq!(poison.order, None);
    reader.bury(batch[0].position, poison, Timestamp::from_millis(7)).await.unwrap();
    assert_eq!(fixture.dead_letters().await, [("not json".to_owned(), poison.reason.clone())]);
}

pub(super) async fn a_damaged_record_comes_as_poison_that_names_its_order(fixture: &impl Fixture) {
    let reservation = reservation(4);
    fixture.append_raw(&record::encode(&reservation).replace("\"quantity\":1", "\"quantity\":-1")).await;
    let appended = append(fixture.log(), [4]).await;
    let mut reader = fixture.reader().await;
    let batch = read(reader.as_mut(), 2).await;
    let (poison, healthy): (Vec<_>, Vec<_>) = batch.into_iter().partition(|entry| entry.record.is_err());
    assert_eq!(poison[0].record.as_ref().unwrap_err().order, Some((reservation.pool, reservation.order_id)));
    assert_eq!(orders(&healthy), appended);
}

pub(super) async fn lag_counts_what_is_not_settled(fixture: &impl Fixture) {
    let mut reader = fixture.reader().await;
    assert_eq!(reader.lag().await.unwrap(), 0);
    assert_eq!(fixture.log().lag().await.unwrap(), 0);
    append(fixture.log(), [1, 1, 2, 2, 3]).await;
    wait_for_lag(reader.as_mut(), 5).await;
    assert_eq!(fixture.log().lag().await.unwrap(), 5, "who appends counts as who reads");
    let batch = read(reader.as_mut(), 5).await;
    let first_pool: Vec<_> = batch
        .iter()
        .filter(|entry| entry.record.as_ref().unwrap().pool == PoolId::Promo(PromoId(1)))
        .map(|entry| entry.position)
        .collect();
    // What lies before these in a shared partition is settled with them.
    let settled = batch.iter().filter(|entry| {
        first_pool
            .iter()
            .any(|last| last.partition == entry.position.partition && entry.position.offset <= last.offset)
    });
    let left = batch.len() - settled.count();
    reader.commit(&first_pool).await.unwrap();
    wait_for_lag(reader.as_mut(), left).await;
    reader.commit(&positions(&batch)).await.unwrap();
    wait_for_lag(reader.as_mut(), 0).await;
    assert_eq!(fixture.log().lag().await.unwrap(), 0);
}

async fn wait_for_lag(reader: &mut dyn OrderLogReader, expected: usize) {
    let deadline = Instant::now() + SOON;
    loop {
        let lag = reader.lag().await.unwrap();
        if lag == expected as u64 {
            return;
        }
        assert!(Instant::now() < deadline, "the lag is {lag}, not {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(super) async fn an_end_is_settled_when_all_before_it_is(fixture: &impl Fixture) {
    let log = fixture.log();
    let empty = log.end().await.unwrap();
    assert!(log.is_settled(&empty).await.unwrap());

    append(log, [1, 2, 3]).await;
    let end = log.end().await.unwrap();
    assert!(!log.is_settled(&end).await.unwrap());
    assert!(log.is_settled(&empty).await.unwrap());

    let mut reader = fixture.reader().await;
    let batch = read(reader.as_mut(), 3).await;
    append(log, [1]).await;
    let last_but_one = &positions(&batch)[..2];
    reader.commit(last_but_one).await.unwrap();
    assert!(!log.is_settled(&end).await.unwrap());
    reader.commit(&positions(&batch)).await.unwrap();
    wait_for("the end to be settled", || async { log.is_settled(&end).await.unwrap() }).await;
}
