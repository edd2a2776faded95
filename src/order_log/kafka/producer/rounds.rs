//! What goes to librdkafka when: records in rounds, and those of a round that have the same key in one message.
//!
//! What comes while a round is under way shares the next one. A message and a request cost brokers and librdkafka far more
//! than one more line in them, so the busier the log is, the less each record costs. The records of a message succeed or
//! fail together, and each of their callers hears of it.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::RwLock;
use rdkafka::{message::OwnedHeaders, producer::BaseRecord};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, sleep_until},
};

use super::{Client, Health, no_room};
use crate::order_log::{
    kafka::{RECORDS_PER_MESSAGE, SEPARATOR},
    port::LogError,
};

/// Rounds begin no closer to each other.
const ROUND_EVERY: Duration = Duration::from_millis(2);

/// Records in one round, at most.
const ROUND_MAX: usize = 1000;

/// A record that waits for its round.
pub(super) struct Waiting {
    pub topic: String,
    pub key: String,
    pub payload: String,
    /// A record with headers has a message of its own.
    pub headers: Option<OwnedHeaders>,
    pub caller: Caller,
}

/// Who waits for a record, and its place among those in flight.
pub(super) struct Caller {
    pub answer: oneshot::Sender<Result<(), LogError>>,
    /// The record is not sent after this.
    pub until: Instant,
    pub _place: OwnedSemaphorePermit,
}

/// A message on its way: who waits for its records.
pub(super) struct InFlight {
    callers: Vec<Caller>,
    /// The round ends with its last message.
    _round: Arc<OwnedSemaphorePermit>,
}

/// Records of one key, a line each.
struct Message {
    topic: String,
    key: String,
    payload: String,
    headers: Option<OwnedHeaders>,
    callers: Vec<Caller>,
}

impl InFlight {
    /// Tells everybody who waits.
    pub fn answer(self, delivered: &Result<(), LogError>) {
        for caller in self.callers {
            // Who no longer waits has its order relayed, or repeats its request.
            let _ = caller.answer.send(delivered.clone());
        }
    }
}

/// Sends what waits, round after round, until the producer ends.
pub(super) async fn send_rounds(
    client: Arc<RwLock<Option<Arc<Client>>>>,
    health: Arc<Health>,
    mut waiting: mpsc::UnboundedReceiver<Waiting>,
) {
    let rounds = Arc::new(Semaphore::new(1));
    let mut began = Instant::now();
    // The permit first: what arrives until then shares the round.
    while let Ok(round) = Arc::clone(&rounds).acquire_owned().await {
        let mut records = Vec::new();
        if waiting.recv_many(&mut records, ROUND_MAX).await == 0 {
            return;
        }
        if began.elapsed() < ROUND_EVERY {
            sleep_until(began + ROUND_EVERY).await;
            while records.len() < ROUND_MAX
                && let Ok(record) = waiting.try_recv()
            {
                records.push(record);
            }
        }
        began = Instant::now();
        let Some(client) = client.read().clone() else { continue };
        let (late, in_time): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| record.caller.until < began);
        for record in late {
            let _ = record.caller.answer.send(Err(no_room()));
        }
        let round = Arc::new(round);
        for message in gather(in_time) {
            enqueue(&client, message, &round, &health);
        }
    }
}

/// Puts the records of a key into as few messages as may be, each key's in order.
fn gather(records: Vec<Waiting>) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    // The message that a key's next record may join.
    let mut open: HashMap<(String, String), usize> = HashMap::new();
    for Waiting { topic, key, payload, headers, caller } in records {
        let name = (topic.clone(), key.clone());
        let joined = open.get(&name).map(|&at| &mut messages[at]);
        let has_room = |message: &&mut Message| message.callers.len() < RECORDS_PER_MESSAGE;
        if let Some(message) = joined.filter(|message| headers.is_none() && has_room(message)) {
            message.payload.push(SEPARATOR);
            message.payload.push_str(&payload);
            message.callers.push(caller);
            continue;
        }
        if headers.is_none() {
            open.insert(name, messages.len());
        }
        messages.push(Message { topic, key, payload, headers, callers: vec![caller] });
    }
    messages
}

/// Hands a message to librdkafka, which tells the client's context what became of it.
fn enqueue(client: &Client, message: Message, round: &Arc<OwnedSemaphorePermit>, health: &Health) {
    let Message { topic, key, payload, headers, callers } = message;
    let in_flight = Box::new(InFlight { callers, _round: Arc::clone(round) });
    let mut record = BaseRecord::with_opaque_to(&topic, in_flight).key(&key).payload(&payload);
    record.headers = headers;
    if let Err((error, refused)) = client.send(record) {
        health.failed(&error);
        refused.delivery_opaque.answer(&Err(error.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn waiting(key: &str, payload: &str) -> Waiting {
        let place = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let caller = Caller { answer: oneshot::channel().0, until: Instant::now(), _place: place };
        Waiting { topic: "orders".into(), key: key.into(), payload: payload.into(), headers: None, caller }
    }

    #[tokio::test]
    async fn the_records_of_a_key_share_messages_in_their_order() {
        let mut records = Vec::new();
        for nth in 0..=RECORDS_PER_MESSAGE {
            records.push(waiting("promo:1", &nth.to_string()).await);
        }
        records.insert(1, waiting("promo:2", "other").await);
        let mut buried = waiting("promo:1", "buried").await;
        buried.headers = Some(OwnedHeaders::new());
        records.push(buried);

        let messages = gather(records);
        let of = |at: usize| (messages[at].key.as_str(), messages[at].callers.len());
        assert_eq!(
            [of(0), of(1), of(2), of(3)],
            [("promo:1", RECORDS_PER_MESSAGE), ("promo:2", 1), ("promo:1", 1), ("promo:1", 1)]
        );
        let sent: Vec<&str> =
            messages[0].payload.split(SEPARATOR).chain([messages[2].payload.as_str()]).collect();
        let expected: Vec<String> = (0..=RECORDS_PER_MESSAGE).map(|nth| nth.to_string()).collect();
        assert_eq!(sent, expected);
        assert_eq!(messages[3].payload, "buried");
    }
}
