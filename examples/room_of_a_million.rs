//! How long each script holds up Redis in a room of a million places, by Redis's own clock.
//!
//! Fills a room under a prefix of its own, does the worst of everything, prints the longest single call of each kind, and clears
//! the prefix. The server must be one that nobody else uses meanwhile, or others are counted too:
//!
//! ```sh
//! scripts/services up redis; cargo run --example room_of_a_million -- redis://127.0.0.1:23379 1000000
//! ```

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use async_trait::async_trait;
use fred::{
    interfaces::{ClientLike, KeysInterface},
    types::{InfoKind, scan::Scanner},
};
use futures_util::TryStreamExt;
use panicbuy::{
    admission::port::{LogState, RoomSettings, Ticked, WaitingRooms},
    domain::{
        Admission, DrawKey, Epoch, ItemId, OrderStatus, PoolId, Price, PromoId, RequestId, Seed, Timestamp,
        UserId, Verdict,
    },
    random,
    redis::{Redis, RedisSettings},
    reservation::{
        port::{Gate, Opening, OpeningOrder, Reservation, Reservations},
        redis::{EpochError, EpochSource, RedisEngine, RedisEngineSettings},
    },
};

const PROMO: PromoId = PromoId(1);
const POOL: PoolId = PoolId::Promo(PROMO);
/// How long a pass lasts, and how long a called shopper may be away.
const PASS_MS: u64 = 60_000;
const GRACE_MS: u64 = 60_000;
/// Units, and passes at most.
const STOCK: u32 = 20_000;
/// Orders or joins in one call: as many as the engine puts together.
const TOGETHER: usize = 128;
/// Shoppers that a gateway asks about at once.
const SHOPPERS: i64 = 500;
/// Calls of each kind, about.
const TIMES: usize = 40;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let url =
        arguments.next().context("the first argument is the server, such as redis://127.0.0.1:23379")?;
    let places = arguments.next().map_or(Ok(1_000_000), |places| places.parse())?;
    let prefix = format!("room-of-a-million-{}:", random::uuid().simple());
    let redis = Redis::connect(&RedisSettings { prefix, ..RedisSettings::new(&url) }).await?;
    let engine = RedisEngine::new(redis.clone(), Arc::new(NoSource), &RedisEngineSettings::default());
    let start = Timestamp::from_millis(1_795_341_600_000);
    let mut room = Room { redis, engine, places, now: start, start, times: BTreeMap::new() };
    let measured = room.run().await;
    room.clear().await?;
    measured?;
    println!("   median      99%  longest   ms of Redis for one call of");
    for (name, mut times) in room.times {
        times.sort_unstable();
        let of = |percent: usize| ms(times[(times.len() - 1) * percent / 100]);
        println!("{:9.2}{:9.2}{:9.2}   {name} ({} times)", of(50), of(99), of(100), times.len());
    }
    Ok(())
}

fn ms(microseconds: u64) -> f64 {
    f64::from(u32::try_from(microseconds).unwrap_or(u32::MAX)) / 1_000.0
}

/// The epochs that a database would know: the engine learns them from the openings.
struct NoSource;

#[async_trait]
impl EpochSource for NoSource {
    async fn epoch(&self, _: PoolId) -> Result<Option<Epoch>, EpochError> {
        Ok(None)
    }
}

/// The room, and what was measured so far.
struct Room {
    redis: Redis,
    engine: RedisEngine,
    places: i64,
    start: Timestamp,
    now: Timestamp,
    /// Microseconds of each call.
    times: BTreeMap<&'static str, Vec<u64>>,
}

impl Room {
    async fn run(&mut self) -> anyhow::Result<()> {
        self.open(1, 0).await?;
        self.fill().await?;
        self.let_in().await?;
        self.ask().await?;
        self.sell().await?;
        self.lapse_and_pass_over().await?;
        self.build_anew().await?;
        self.end().await
    }

    /// Calls of scripts on the server, and the microseconds it has spent on them.
    async fn spent(&self) -> anyhow::Result<(u64, u64)> {
        let client = self.redis.commands().next_connected();
        let info: String = client.info(Some(InfoKind::CommandStats)).await?;
        let scripts = info.lines().filter_map(|line| line.strip_prefix("cmdstat_eval"));
        let number = |line: &str, name: &str| -> Option<u64> {
            line.split_once(name)?.1.split(',').next()?.parse().ok()
        };
        Ok(scripts.fold((0, 0), |(calls, spent), line| {
            (calls + number(line, ":calls=").unwrap_or(0), spent + number(line, ",usec=").unwrap_or(0))
        }))
    }

    /// Asks the engine, and notes what Redis spent on it. What became several calls counts with the mean of them.
    async fn measure<T, E>(
        &mut self,
        name: &'static str,
        ask: impl AsyncFnOnce(&RedisEngine, Timestamp) -> Result<T, E>,
    ) -> anyhow::Result<T>
    where
        anyhow::Error: From<E>,
    {
        let before = self.spent().await?;
        let answer = ask(&self.engine, self.now).await?;
        let after = self.spent().await?;
        let (calls, spent) = (after.0 - before.0, after.1 - before.1);
        anyhow::ensure!(calls > 0, "{name} asked nothing of Redis");
        self.times.entry(name).or_default().push(spent / calls);
        Ok(answer)
    }

    async fn tick(&mut self, name: &'static str) -> anyhow::Result<Ticked> {
        self.measure(name, async |engine, now| engine.tick(PROMO, now, LogState::Ready).await).await
    }

    fn gate(&self) -> Gate {
        Gate {
            starts_at: self.start.plus_millis(1_000),
            ends_at: self.start.plus_millis(3_600_000),
            paused: false,
            ended: false,
        }
    }

    async fn open(&mut self, epoch: u64, orders: i64) -> anyhow::Result<()> {
        let order = |user| OpeningOrder {
            order_id: random::order_id(),
            request_id: RequestId(random::uuid()),
            user_id: UserId(user),
            quantity: 1,
            status: OrderStatus::AwaitingPayment,
            reason: None,
            created_at: self.start,
        };
        let opening = Opening {
            epoch: Epoch(epoch),
            initial: STOCK,
            sold: u32::try_from(orders)?,
            per_user_limit: Some(1),
            gate: Some(self.gate()),
            orders: (1..=orders).map(order).collect(),
        };
        self.measure("open_begin, open_load, open_finish", async |engine, _| {
            engine.open(POOL, opening).await
        })
        .await?;
        let settings = RoomSettings {
            draw: Seed([7; 32]).commit(),
            admission: Admission { rate_per_s: 100_000, max_active: STOCK, pass_ttl_ms: PASS_MS },
            grace_ms: GRACE_MS,
            max_unsettled: STOCK,
            max_places: u32::try_from(self.places)? + 1_000,
        };
        self.measure("open_room, resume_room", async |engine, now| {
            engine.open_room_at(PROMO, settings, now).await
        })
        .await
    }

    /// Everybody joins, in an order that is not that of the draw.
    async fn fill(&mut self) -> anyhow::Result<()> {
        let users: Vec<i64> = (1..=self.places).collect();
        for users in users.chunks(TOGETHER) {
            let joiner = |user: &i64| {
                let key = user.unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 12;
                (UserId(*user), DrawKey(key), self.now)
            };
            let joiners: Vec<_> = users.iter().map(joiner).collect();
            self.measure("join, 128 shoppers", async |engine, _| engine.join_together(PROMO, &joiners).await)
                .await?;
        }
        Ok(())
    }

    async fn let_in(&mut self) -> anyhow::Result<()> {
        self.tick("tick before the opening").await?;
        self.now = self.start.plus_millis(1_000);
        self.tick("tick that opens").await?;
        for _ in 0..TIMES {
            self.now = self.now.plus_millis(50);
            let ticked = self.tick("tick that gives passes").await?;
            anyhow::ensure!(ticked.more, "a tick had less to do than it may: {}", ticked.changed.len());
        }
        Ok(())
    }

    async fn ask(&mut self) -> anyhow::Result<()> {
        for nth in 0..i64::try_from(TIMES)? {
            let first = self.places / i64::try_from(TIMES)? * nth + 1;
            let users: Vec<UserId> = (first..first + SHOPPERS).map(UserId).collect();
            self.measure("standings", async |engine, _| engine.standings(PROMO, &users).await).await?;
            self.measure("seen", async |engine, now| engine.seen(PROMO, &users, now).await).await?;
            self.measure("view", async |engine, _| engine.view(PROMO).await).await?;
            let after = first.unsigned_abs();
            self.measure("draw, 1001 keys", async |engine, _| engine.draw(PROMO, after, 1_001).await).await?;
        }
        Ok(())
    }

    /// Whoever holds a pass orders; half of the orders are settled, the others are looked for.
    async fn sell(&mut self) -> anyhow::Result<()> {
        let mut held = Vec::new();
        let everybody: Vec<UserId> = (1..=self.places).map(UserId).collect();
        for users in everybody.chunks(10_000) {
            let standings = self.engine.standings(PROMO, users).await?;
            held.extend(
                standings.iter().filter(|standing| standing.pass_expires_at.is_some()).map(|it| it.user_id),
            );
        }
        let orders: Vec<Reservation> = held.iter().map(|user| order(*user, self.now)).collect();
        let (sold, kept) = orders.split_at(orders.len() / 2);
        for orders in sold.chunks(TOGETHER) {
            self.measure("reserve, 128 orders", async |engine, _| {
                engine.reserve_together(POOL, orders).await
            })
            .await?;
        }
        let pay_before = self.now.plus_millis(600_000);
        let verdicts: Vec<_> =
            sold.iter().map(|order| (order.order_id, Verdict::Posted { pay_before })).collect();
        let later = self.now.plus_millis(1);
        self.measure("overdue, 1000 orders", async |engine, _| engine.overdue(later, later, 1_000).await)
            .await?;
        for verdicts in verdicts.chunks(1_000) {
            self.measure("settle", async |engine, _| engine.settle(POOL, verdicts).await).await?;
        }
        anyhow::ensure!(!kept.is_empty(), "some keep their passes, to lose them");
        Ok(())
    }

    async fn lapse_and_pass_over(&mut self) -> anyhow::Result<()> {
        self.now = self.now.plus_millis(PASS_MS + GRACE_MS);
        // Nobody was seen since: the passes of all lapse, and all that are called are away.
        for _ in 0..TIMES / 2 {
            let ticked = self.tick("tick that takes passes back").await?;
            anyhow::ensure!(ticked.more, "a tick had less to do than it may: {}", ticked.changed.len());
        }
        for _ in 0..TIMES {
            self.tick("tick that passes over").await?;
        }
        let view = self.engine.view(PROMO).await?;
        let passed_over: Vec<UserId> =
            (1..=self.places.min(i64::try_from(view.head)? * 100)).map(UserId).collect();
        for users in passed_over.chunks(500).take(TIMES) {
            self.measure("seen, some passed over", async |engine, now| engine.seen(PROMO, users, now).await)
                .await?;
        }
        Ok(())
    }

    async fn build_anew(&mut self) -> anyhow::Result<()> {
        self.open(2, i64::from(STOCK / 2)).await
    }

    async fn end(&mut self) -> anyhow::Result<()> {
        let over = Gate { ended: true, ..self.gate() };
        self.engine.set_gate(POOL, over).await?;
        for _ in 0..TIMES {
            self.tick("tick that sends home").await?;
        }
        Ok(())
    }

    async fn clear(&self) -> anyhow::Result<()> {
        let client = self.redis.commands().next_connected();
        let mut pages = client.scan(format!("{}*", self.redis.prefix()), Some(1_000), None);
        while let Some(mut page) = pages.try_next().await? {
            if let Some(keys) = page.take_results().filter(|keys| !keys.is_empty()) {
                let () = client.unlink(keys).await?;
            }
            page.next();
        }
        Ok(())
    }
}

fn order(user: UserId, now: Timestamp) -> Reservation {
    Reservation {
        order_id: random::order_id(),
        request_id: RequestId(random::uuid()),
        user_id: user,
        pool: POOL,
        item_id: ItemId(1),
        quantity: 1,
        price: Price(900),
        payment_window_ms: 600_000,
        reserved_at: now,
        epoch: Epoch::default(),
    }
}
