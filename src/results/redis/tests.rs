//! The bus against real servers that lose subscriptions, entries and everything.

use std::time::Duration;

use fred::{interfaces::KeysInterface, types::Value};

use super::{RedisResults, RedisResultsSettings};
use crate::{
    domain::{ItemId, PoolId, PromoId},
    redis::{
        Redis, Script,
        testing::{own, tell, until},
    },
    results::port::{Event, Heard, Results, Subscription},
};

mod deaf;

/// Tells one entry in the form of the engines' scripts: its number is the next of the pool's under the epoch.
static TELL: Script = Script::new(
    "tell",
    &["local n = redis.call('HINCRBY', KEYS[1], 'events:' .. ARGV[3], 1)
       local entry = string.format('[\"%s\",%s,%d,\"%s\",%s]', ARGV[2], ARGV[3], n, ARGV[4], ARGV[5])
       redis.call('XADD', KEYS[2], 'MAXLEN', '10000', ARGV[3] .. '-' .. n, 'e', entry)
       if ARGV[6] == 'aloud' then redis.call('PUBLISH', ARGV[1] .. 'news', entry) end
       return n"],
);

const PROMO: PoolId = PoolId::Promo(PromoId(3));

/// What somebody on another node tells.
struct Teller<'a> {
    redis: &'a Redis,
    pool: PoolId,
    epoch: u64,
    by: &'a str,
    aloud: bool,
}

impl<'a> Teller<'a> {
    fn new(redis: &'a Redis) -> Self {
        Self { redis, pool: PROMO, epoch: 1, by: "", aloud: true }
    }

    async fn tell(&self, events: &str) {
        let keys = vec![self.redis.key(self.pool, "ledger"), self.redis.key(self.pool, "events")];
        let how = if self.aloud { "aloud" } else { "in silence" };
        let epoch = self.epoch.to_string();
        let arguments = [self.redis.prefix(), &self.pool.to_string(), &epoch, self.by, events, how];
        self.redis.run(&TELL, keys, arguments.map(Value::from).to_vec()).await.unwrap();
    }

    /// News that names its number in place of the shopper.
    async fn number(&self, number: i64) {
        self.tell(&standing(number)).await;
    }

    async fn numbers(&self, numbers: impl IntoIterator<Item = i64>) {
        for number in numbers {
            self.number(number).await;
        }
    }
}

fn standing(number: i64) -> String {
    format!(r#"[["s",{number},"queued",1,0,null,null,null,null]]"#)
}

fn settings() -> RedisResultsSettings {
    RedisResultsSettings { probe_every: Duration::from_millis(100), ..RedisResultsSettings::default() }
}

async fn bus(redis: &Redis) -> (RedisResults, Box<dyn Subscription>) {
    let results = RedisResults::connect(redis, settings()).await.unwrap();
    let subscription = results.subscribe();
    (results, subscription)
}

/// Another node of the same shop.
async fn other_node(redis: &Redis) -> Redis {
    Redis::connect(redis.settings()).await.unwrap()
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Number(i64),
    RoomChanged,
    Missed,
}

use Said::{Missed, Number, RoomChanged};

async fn next(subscription: &mut Box<dyn Subscription>) -> Vec<Said> {
    let heard = tokio::time::timeout(Duration::from_secs(20), subscription.next()).await;
    match heard.expect("news comes") {
        Heard::Missed => vec![Missed],
        Heard::Closed => panic!("the bus closed"),
        Heard::Events(events) => events
            .iter()
            .map(|event| match event {
                Event::Standing(standing) => Number(standing.user_id.0),
                Event::RoomChanged(_) | Event::RoomRebuilt(_) => RoomChanged,
                other => panic!("unexpected {other:?}"),
            })
            .collect(),
    }
}

/// The next `count` things that are said.
async fn hear(subscription: &mut Box<dyn Subscription>, count: usize) -> Vec<Said> {
    let mut said = Vec::new();
    while said.len() < count {
        said.extend(next(subscription).await);
    }
    said
}

fn numbers(numbers: impl IntoIterator<Item = i64>) -> Vec<Said> {
    numbers.into_iter().map(Number).collect()
}

/// Cuts the connections of every subscriber of the server.
async fn cut_subscribers(redis: &Redis) {
    tell(redis, "CLIENT", &["KILL", "TYPE", "pubsub"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_hears_the_news_of_all_in_order() {
    let (_server, a) = own().await;
    let b = other_node(&a).await;
    let ((_bus_a, mut at_a), (_bus_b, mut at_b)) = (bus(&a).await, bus(&b).await);
    for number in 0..50 {
        Teller::new(if number % 2 == 0 { &a } else { &b }).number(number).await;
    }
    assert_eq!(hear(&mut at_a, 50).await, numbers(0..50));
    assert_eq!(hear(&mut at_b, 50).await, numbers(0..50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_does_not_hear_what_its_own_sockets_were_told_already() {
    let (_server, a) = own().await;
    let b = other_node(&a).await;
    let ((_bus_a, mut at_a), (_bus_b, mut at_b)) = (bus(&a).await, bus(&b).await);
    let told = Teller { by: a.node(), ..Teller::new(&a) };
    told.number(1).await;
    Teller::new(&a).number(2).await;
    assert_eq!(hear(&mut at_a, 1).await, numbers([2]));
    assert_eq!(hear(&mut at_b, 2).await, numbers([1, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_while_the_subscription_was_cut_is_heard_once_and_in_order() {
    let (_server, redis) = own().await;
    let (_bus, mut subscription) = bus(&redis).await;
    let teller = Teller::new(&redis);
    teller.number(0).await;
    assert_eq!(hear(&mut subscription, 1).await, numbers([0]));
    let mut told = 1;
    for _ in 0..5 {
        cut_subscribers(&redis).await;
        teller.numbers(told..told + 20).await;
        assert_eq!(hear(&mut subscription, 20).await, numbers(told..told + 20));
        told += 20;
    }
    // Nothing comes twice: the next thing heard is the next thing told.
    teller.number(told).await;
    assert_eq!(hear(&mut subscription, 1).await, numbers([told]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_news_of_a_followed_pool_is_not_lost_either() {
    let (_server, redis) = own().await;
    let (bus, mut subscription) = bus(&redis).await;
    let pool = PoolId::Promo(PromoId(9));
    let before = Teller { pool, aloud: false, ..Teller::new(&redis) };
    before.number(1).await;
    bus.followed().follow(pool);
    bus.followed().follow(PROMO);
    // Both streams are looked at before anything else is told, so a gap in them is a loss.
    let followed = bus.followed();
    until("they are", async || followed.is_followed(pool) && followed.is_followed(PROMO)).await;
    before.number(2).await;
    assert_eq!(hear(&mut subscription, 1).await, numbers([2]));
    Teller { aloud: false, ..Teller::new(&redis) }.number(3).await;
    assert_eq!(hear(&mut subscription, 1).await, numbers([3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn news_that_never_came_is_noticed_without_any_other() {
    let (_server, redis) = own().await;
    let (_bus, mut subscription) = bus(&redis).await;
    Teller::new(&redis).number(0).await;
    Teller { aloud: false, ..Teller::new(&redis) }.numbers(1..1200).await;
    assert_eq!(hear(&mut subscription, 1200).await, numbers(0..1200), "several pages of it");
    Teller { aloud: false, ..Teller::new(&redis) }.number(1200).await;
    Teller::new(&redis).number(1201).await;
    assert_eq!(hear(&mut subscription, 2).await, numbers(1200..1202), "the gap is filled before the news");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_stream_does_not_hold_any_more_is_missed() {
    let (_server, redis) = own().await;
    let (_bus, mut subscription) = bus(&redis).await;
    Teller::new(&redis).number(0).await;
    assert_eq!(hear(&mut subscription, 1).await, numbers([0]));
    let trim = Script::new(
        "tell much and keep little",
        &["for n = 2, 9 do redis.call('XADD', KEYS[1], 'MAXLEN', 2, '1-' .. n, 'e', ARGV[n]) end
           redis.call('HSET', KEYS[2], 'events:1', 9)"],
    );
    let entry = |n: i64| Value::from(format!(r#"["promo:3",1,{n},"",{}]"#, standing(n)));
    let keys = vec![redis.key(PROMO, "events"), redis.key(PROMO, "ledger")];
    redis.run(&trim, keys, (1..10).map(entry).collect()).await.unwrap();
    assert_eq!(hear(&mut subscription, 3).await, [Missed, Number(8), Number(9)]);
    Teller::new(&redis).number(10).await;
    assert_eq!(hear(&mut subscription, 1).await, numbers([10]));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_everything_was_lost_the_news_goes_on_under_the_next_epoch() {
    let (_server, redis) = own().await;
    let (_bus, mut subscription) = bus(&redis).await;
    Teller::new(&redis).numbers(0..3).await;
    assert_eq!(hear(&mut subscription, 3).await, numbers(0..3));
    tell(&redis, "FLUSHALL", &[]).await;
    let rebuilt = Teller { epoch: 2, ..Teller::new(&redis) };
    rebuilt.tell(r#"[["x"]]"#).await;
    rebuilt.number(4).await;
    assert_eq!(hear(&mut subscription, 3).await, [Missed, RoomChanged, Number(4)]);
    // An old epoch's straggler is nobody's news any more.
    let straggler = format!(r#"["promo:3",1,4,"",{}]"#, standing(5));
    redis.publish(&format!("{}news", redis.prefix()), straggler).await.unwrap();
    rebuilt.number(6).await;
    assert_eq!(hear(&mut subscription, 1).await, numbers([6]));
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_redis_lost_after_they_were_heard_are_missed() {
    let (_server, redis) = own().await;
    let (_bus, mut subscription) = bus(&redis).await;
    Teller::new(&redis).numbers(0..3).await;
    assert_eq!(hear(&mut subscription, 3).await, numbers(0..3));
    let (stream, ledger) = (redis.key(PROMO, "events"), redis.key(PROMO, "ledger"));
    redis.commands().del::<(), _>(vec![stream, ledger]).await.unwrap();
    // As after a failover to a replica that had not heard of the last entries.
    Teller { aloud: false, ..Teller::new(&redis) }.number(7).await;
    assert_eq!(hear(&mut subscription, 1).await, [Missed]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_away_for_a_while_loses_no_news() {
    let (server, redis) = own().await;
    let (bus, mut subscription) = bus(&redis).await;
    Teller::new(&redis).number(0).await;
    assert_eq!(hear(&mut subscription, 1).await, numbers([0]));
    server.pause();
    until("the silence is noticed", async || !bus.is_well()).await;
    server.resume();
    until("somebody can speak again", async || redis.is_well()).await;
    Teller::new(&redis).numbers(1..5).await;
    assert_eq!(hear(&mut subscription, 4).await, numbers(1..5));
    until("the bus is well again", async || bus.is_well()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_falls_behind_is_told_so() {
    let (_server, redis) = own().await;
    let settings = RedisResultsSettings { capacity: 4, ..settings() };
    let bus = RedisResults::connect(&redis, settings).await.unwrap();
    let (mut slow, mut quick) = (bus.subscribe(), bus.subscribe());
    let item = Teller { pool: PoolId::Item(ItemId(1)), ..Teller::new(&redis) };
    item.tell(r#"[["x"]]"#).await; // Nothing for sockets: an item has no room.
    for number in 0..20 {
        Teller::new(&redis).number(number).await;
        assert_eq!(hear(&mut quick, 1).await, numbers([number]));
    }
    assert_eq!(hear(&mut slow, 5).await, [Missed, Number(16), Number(17), Number(18), Number(19)]);
}
