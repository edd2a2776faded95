//! The engine on real servers.

mod bounds;
mod cluster;
mod losses;
mod storm;

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use fred::{interfaces::KeysInterface, types::scan::Scanner};
use futures_util::TryStreamExt;
use parking_lot::Mutex;

use super::{EpochError, EpochSource, RedisEngine, RedisEngineSettings};
use crate::{
    admission::port::RoomSettings,
    domain::{Admission, Epoch, ItemId, PoolId, Price, PromoId, RequestId, Seed, Timestamp, UserId},
    random,
    redis::{Redis, testing::quick},
    reservation::{
        conformance::{Fixture, conformance},
        port::{Gate, Opening, Reservation},
    },
    results::{
        port::Results,
        redis::{RedisResults, RedisResultsSettings},
    },
};

const NOW: Timestamp = Timestamp::from_millis(1_795_341_600_000);
const PROMO: PromoId = PromoId(3);
const POOL: PoolId = PoolId::Promo(PROMO);

/// The epochs that the database would know.
#[derive(Default)]
struct KnownEpochs(Mutex<HashMap<PoolId, Epoch>>);

impl KnownEpochs {
    fn set(&self, pool: PoolId, epoch: Epoch) {
        self.0.lock().insert(pool, epoch);
    }
}

#[async_trait]
impl EpochSource for KnownEpochs {
    async fn epoch(&self, pool: PoolId) -> Result<Option<Epoch>, EpochError> {
        Ok(self.0.lock().get(&pool).copied())
    }
}

/// The server that all tests share, under a prefix of the test's own.
async fn shared() -> Redis {
    Redis::connect(&quick(&panicbuy_test_servers::shared().redis_url)).await.unwrap()
}

/// An engine whose source knows nothing: it learns from openings alone.
fn engine(redis: &Redis) -> RedisEngine {
    engine_with(redis, Arc::default())
}

fn engine_with(redis: &Redis, epochs: Arc<KnownEpochs>) -> RedisEngine {
    RedisEngine::new(redis.clone(), epochs, &RedisEngineSettings::default())
}

/// Removes everything that the connection's prefix has on one server.
async fn clear(redis: &Redis) {
    let client = redis.commands().next_connected();
    let mut pages = client.scan(format!("{}*", redis.prefix()), Some(1_000), None);
    while let Some(mut page) = pages.try_next().await.unwrap() {
        if let Some(keys) = page.take_results().filter(|keys| !keys.is_empty()) {
            let () = client.unlink(keys).await.unwrap();
        }
        page.next();
    }
}

async fn fixture_on(redis: Redis) -> Fixture {
    let results = RedisResults::connect(&redis, RedisResultsSettings::default()).await.unwrap();
    let news = Box::new(Kept { news: results.subscribe(), _results: results });
    Fixture { engine: Arc::new(engine(&redis)), news, tells_building: true }
}

/// A subscription that keeps its bus alive.
struct Kept {
    news: Box<dyn crate::results::port::Subscription>,
    _results: RedisResults,
}

#[async_trait]
impl crate::results::port::Subscription for Kept {
    async fn next(&mut self) -> crate::results::port::Heard {
        self.news.next().await
    }
}

async fn open() -> Fixture {
    fixture_on(shared().await).await
}

conformance!(tests: open);

fn gate() -> Gate {
    Gate {
        starts_at: NOW.minus_millis(60_000),
        ends_at: NOW.plus_millis(3_600_000),
        paused: false,
        ended: false,
    }
}

fn opening(epoch: u64, stock: u32) -> Opening {
    Opening {
        epoch: Epoch(epoch),
        initial: stock,
        sold: 0,
        per_user_limit: Some(1),
        gate: Some(gate()),
        orders: Vec::new(),
    }
}

fn settings() -> RoomSettings {
    RoomSettings {
        draw: Seed([7; 32]).commit(),
        admission: Admission { rate_per_s: 1_000, max_active: 1_000, pass_ttl_ms: 600_000 },
        grace_ms: 600_000,
        max_unsettled: 1_000,
        max_places: 1_000_000,
    }
}

fn order(user: i64) -> Reservation {
    Reservation {
        order_id: random::order_id(),
        request_id: RequestId(random::uuid()),
        user_id: UserId(user),
        pool: POOL,
        item_id: ItemId(7),
        quantity: 1,
        price: Price(900),
        payment_window_ms: 60_000,
        reserved_at: NOW,
        epoch: Epoch::default(),
    }
}
