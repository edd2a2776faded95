//! Records that no order writer can write, put straight into the topic in the middle of a sale.

use std::time::Duration;

use panicbuy::{
    domain::{Epoch, ItemId, PoolId, Price, PromoId, RequestId, UserId},
    order_log::record,
    random,
    reservation::port::Reservation,
};
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    message::Headers as _,
    producer::{FutureProducer, FutureRecord},
};
use reqwest::Method;

use super::{
    crowd::{Crowd, check, enrol},
    fleet::Fleet,
};
use crate::support::{
    eventually,
    home::Home,
    shop::{Sale, Shop},
};

const UNITS: usize = 12;
/// How long Kafka may take.
const SOON: Duration = Duration::from_secs(20);

/// The topics of one home, as a stranger sees them.
struct Topics {
    brokers: String,
    orders: String,
}

impl Topics {
    fn of(home: &Home) -> Self {
        let value = |flag: &str| home.flags().iter().skip_while(|word| *word != flag).nth(1).unwrap().clone();
        Self { brokers: value("--kafka-brokers"), orders: value("--kafka-topic") }
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("group.id", format!("{}-stranger", self.orders));
        config
    }

    /// Puts this among the promo's orders.
    async fn put(&self, promo: PromoId, payload: &[u8]) {
        let producer: FutureProducer = self.client().create().unwrap();
        let key = PoolId::Promo(promo).to_string();
        producer.send(FutureRecord::to(&self.orders).key(&key).payload(payload), SOON).await.unwrap();
    }

    /// Payload and reason of every dead letter, in order.
    fn dead_letters(&self) -> Vec<(Vec<u8>, String)> {
        let topic = format!("{}.dead", self.orders);
        let consumer: BaseConsumer = self.client().create().unwrap();
        let (from, to) = consumer.fetch_watermarks(&topic, 0, SOON).unwrap();
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_offset(&topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&partitions).unwrap();
        (from..to)
            .map(|_| {
                let letter = consumer.poll(SOON).expect("a letter in time").unwrap();
                let headers = letter.headers().unwrap();
                let reason = headers.iter().find(|header| header.key == "reason").unwrap();
                let reason = String::from_utf8(reason.value.unwrap().to_vec()).unwrap();
                (letter.payload().unwrap_or_default().to_vec(), reason)
            })
            .collect()
    }
}

/// An order of nobody's.
fn forged(promo: PromoId, item: ItemId) -> Reservation {
    Reservation {
        order_id: random::order_id(),
        request_id: RequestId(random::uuid()),
        user_id: UserId(i64::MAX),
        pool: PoolId::Promo(promo),
        item_id: item,
        quantity: 1,
        price: Price(1_999),
        payment_window_ms: 60_000,
        reserved_at: panicbuy::clock::now(),
        epoch: Epoch(u64::MAX >> 1),
    }
}

/// Bytes that nobody can read and orders that can never succeed end in the dead letters. The sale goes on, nothing is taken for
/// them, and each order that was accepted has its one outcome.
#[tokio::test(flavor = "multi_thread")]
async fn poisoned_records_do_not_stop_a_sale() {
    let home = Home::new();
    let topics = Topics::of(&home);
    let fleet = Fleet::start(home, &[]);
    // Slow enough that the poison falls into the middle.
    let sale = Sale { stock: 12, rate_per_s: 4, ..Sale::default() };
    let admin = Shop::admin(fleet.address()).await;
    let item = admin.create_item(sale.stock).await;
    let promo = admin.put_on_sale(item, &sale).await;
    let tokens = enrol(fleet.address(), UNITS + 4).await;
    let crowd = Crowd::send(&tokens, &fleet.addresses(), promo);
    crowd.until_bought(UNITS / 3).await;

    let of_nobody = record::encode(&forged(promo, item));
    let of_nothing = record::encode(&Reservation { quantity: 0, ..forged(promo, item) });
    let damaged = of_nobody.replace("\"quantity\":1", "\"quantity\":-1");
    let poison =
        [&b"\xff\xfe\x00"[..], of_nobody.as_bytes(), of_nothing.as_bytes(), damaged.as_bytes(), b"{}"];
    for payload in poison {
        topics.put(promo, payload).await;
    }

    crowd.until_bought(UNITS).await;
    let stories = crowd.stories().await;
    check(&stories, &tokens, fleet.address(), promo, UNITS).await;
    let letters = eventually("all the poison to be buried", || async {
        let letters = tokio::task::block_in_place(|| topics.dead_letters());
        (letters.len() >= poison.len()).then_some(letters)
    })
    .await;
    let mut reasons: Vec<&str> = letters.iter().filter_map(|(_, reason)| reason.split(':').next()).collect();
    reasons.sort_unstable();
    let expected = ["the quantity is zero", "unknown user", "unreadable", "unreadable", "unreadable"];
    assert_eq!(reasons, expected, "each once");
    let kept =
        letters.iter().find(|(_, reason)| reason == "unknown user").map(|(payload, _)| payload.as_slice());
    assert_eq!(kept, Some(of_nobody.as_bytes()), "as it was");
    let (_, audit) = admin.call(Method::GET, &format!("/api/v1/promos/{promo}/audit"), None).await;
    assert_eq!(audit["ok"], true, "{audit}");
}
