//! Catalogues of several nodes on one Redis, before one counted shop.

use std::time::Instant;

use super::*;
use crate::{
    redis::{
        Redis, RedisSettings, Script,
        testing::{OwnRedis, quick, until},
    },
    service::hot::redis::{HotSettings, RedisHotReads},
};

/// A new generation that nobody is told of.
static CHANGE_IN_SILENCE: Script = Script::new("silent", &["return redis.call('SET', KEYS[1], 'another')"]);

const ITEM: ItemId = ItemId(1);

async fn node(redis: &RedisSettings, hot: HotSettings, shop: &Arc<Shop>, life: Duration) -> Arc<Catalog> {
    let redis = Redis::connect(redis).await.unwrap();
    let hot = RedisHotReads::connect(&redis, hot).await.unwrap();
    Arc::new(Catalog::new(shop.clone(), shop.clone(), life).sharing(Arc::new(hot)))
}

/// Nodes whose own memory lasts longer than any test.
async fn two_nodes(shop: &Arc<Shop>) -> (OwnRedis, Arc<Catalog>, Arc<Catalog>) {
    let (server, life) = (OwnRedis::start(&[]), Duration::from_mins(5));
    let redis = quick(server.url());
    let a = node(&redis, HotSettings::default(), shop, life).await;
    let b = node(&redis, HotSettings::default(), shop, life).await;
    (server, a, b)
}

async fn stock(catalog: &Catalog) -> u32 {
    catalog.item(ITEM).await.unwrap().unwrap().stock
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_ask_the_database_once_for_all() {
    let shop = Arc::new(Shop::default());
    let (_server, a, b) = two_nodes(&shop).await;
    assert_eq!(a.item(ITEM).await.unwrap(), b.item(ITEM).await.unwrap());
    assert_eq!(shop.asked.load(Ordering::SeqCst), 1);
    let (at_a, at_b) = (a.live_promos().await.unwrap(), b.live_promos().await.unwrap());
    assert_eq!(at_a, at_b);
    assert_eq!(at_b.len(), 2, "with their secrets, stages and times");
    assert_eq!(shop.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_seen_here_at_once_and_there_soon() {
    let shop = Arc::new(Shop::default());
    let (_server, a, b) = two_nodes(&shop).await;
    for write in 1..20 {
        shop.stock.store(write, Ordering::SeqCst);
        let (writer, other) = if write % 2 == 0 { (&a, &b) } else { (&b, &a) };
        writer.changed();
        assert_eq!(stock(writer).await, write);
        until("the other node sees it", async || stock(other).await == write).await;
        assert_eq!(stock(writer).await, write);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_news_a_write_is_seen_after_the_memorys_life() {
    let shop = Arc::new(Shop::default());
    let (server, life) = (OwnRedis::start(&[]), Duration::from_millis(50));
    let redis = quick(server.url());
    let a = node(&redis, HotSettings::default(), &shop, life).await;
    let b = node(&redis, HotSettings::default(), &shop, life).await;
    assert_eq!((stock(&a).await, stock(&b).await), (0, 0));
    shop.stock.store(7, Ordering::SeqCst);
    let writer = Redis::connect(&redis).await.unwrap();
    let keys = vec![writer.key("catalog", "generation")];
    writer.run(&CHANGE_IN_SILENCE, keys, Vec::new()).await.unwrap();
    until("both see it", async || stock(&a).await == 7 && stock(&b).await == 7).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_from_before_a_write_is_not_shared_after_it() {
    let shop = Arc::new(Shop::default());
    let (_server, a, b) = two_nodes(&shop).await;
    let closed = shop.door.write().await;
    let old = tokio::spawn({
        let a = a.clone();
        async move { stock(&a).await }
    });
    until("it is asked", async || shop.asked.load(Ordering::SeqCst) == 1).await;
    shop.stock.store(5, Ordering::SeqCst);
    b.changed();
    drop(closed);
    assert_eq!(old.await.unwrap(), 0, "asked before the write");
    until("a sees the write", async || stock(&a).await == 5).await;
    assert_eq!(stock(&b).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_readers_asks_the_database_once() {
    let shop = Arc::new(Shop::default());
    let (_server, a, b) = two_nodes(&shop).await;
    for round in 1..=5 {
        let closed = shop.door.write().await;
        let before = shop.asked.load(Ordering::SeqCst);
        let readers: Vec<_> = (0..100)
            .map(|reader| {
                let catalog = if reader % 2 == 0 { a.clone() } else { b.clone() };
                tokio::spawn(async move { stock(&catalog).await })
            })
            .collect();
        until("somebody asks", async || shop.asked.load(Ordering::SeqCst) > before).await;
        drop(closed);
        for reader in readers {
            reader.await.unwrap();
        }
        // Two, if a node gives up waiting for the other on a slow machine.
        let asked = shop.asked.load(Ordering::SeqCst) - before;
        assert!((1..=2).contains(&asked), "asked {asked} times in round {round}");
        let heard = b.hot.as_ref().unwrap().heard();
        a.changed();
        until("b has heard of it", async || b.hot.as_ref().unwrap().heard() > heard).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_takes_no_room() {
    let server = OwnRedis::start(&[]);
    let redis = quick(server.url());
    let shop = Arc::new(Shop::default());
    let a = node(&redis, HotSettings::default(), &shop, Duration::from_mins(5)).await;
    assert_eq!(a.item(ItemId(1000)).await.unwrap(), None);
    let redis = Redis::connect(&redis).await.unwrap();
    let names = ["answer:v1:item:1000", "lease:v1:item:1000"].map(|name| redis.key("catalog", name));
    let left: i64 = fred::interfaces::KeysInterface::exists(redis.commands(), names.to_vec()).await.unwrap();
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_the_database_answers_and_writes_are_seen() {
    let mut server = OwnRedis::start(&[]);
    let redis = quick(server.url());
    let shop = Arc::new(Shop::default());
    let hot = HotSettings { rest: Duration::from_millis(200), ..HotSettings::default() };
    let a = node(&redis, hot.clone(), &shop, Duration::from_mins(5)).await;
    let b = node(&redis, hot, &shop, Duration::from_millis(1)).await;
    assert_eq!((stock(&a).await, stock(&b).await), (0, 0));

    server.pause();
    let asked = Instant::now();
    for write in 1..=20 {
        shop.stock.store(write, Ordering::SeqCst);
        a.changed();
        assert_eq!(stock(&a).await, write);
        stock(&b).await;
    }
    assert!(asked.elapsed() < Duration::from_secs(3), "each reader waited: {:?}", asked.elapsed());

    // What Redis still holds is from before the writes; the writer sees to it that nobody takes it for new.
    server.resume();
    until("the other node sees the write", async || stock(&b).await == 20).await;
    assert_eq!(stock(&a).await, 20);
    server.kill();
    shop.stock.store(21, Ordering::SeqCst);
    a.changed();
    assert_eq!(stock(&a).await, 21);
    until("its memory has forgotten", async || stock(&b).await == 21).await;
    server.start_again();
    let before = shop.asked.load(Ordering::SeqCst);
    a.changed();
    until("answers are shared again", async || {
        let (asked, _) = (shop.asked.load(Ordering::SeqCst), stock(&b).await);
        asked > before && shop.asked.load(Ordering::SeqCst) == asked
    })
    .await;
}
