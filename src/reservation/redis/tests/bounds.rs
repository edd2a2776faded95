//! No call does more work than a bound, however large the room: the work is counted in commands, not in time.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use fred::{
    interfaces::{ClientLike, HashesInterface},
    types::InfoKind,
};
use tokio_util::sync::CancellationToken;

use super::{super::RedisEngine, NOW, POOL, PROMO, engine, gate, opening, order, settings};
use crate::{
    admission::{
        port::{LogState, RoomSettings, Ticked, WaitingRooms},
        ticker,
    },
    domain::{Admission, DrawKey, OrderStatus, Timestamp, UserId, Verdict},
    redis::{
        Redis,
        testing::{self, OwnRedis, quick},
    },
    reservation::port::{Gate, Opening, OpeningOrder, Reservation, Reservations, Reserved},
};

const PLACES: i64 = 20_000;
/// Shoppers a tick may act on.
const STEPS: usize = 64;
/// Commands of one script call, at most: a few milliseconds of the server's time.
const MOST: u64 = 1_500;
/// Commands for one order, at most; how many orders share a call is the batcher's.
const FOR_AN_ORDER: u64 = 25;

/// A server that only this test talks to.
struct Counted {
    redis: Redis,
    engine: Arc<RedisEngine>,
    _server: OwnRedis,
}

impl Counted {
    /// Calls of scripts so far, and the commands that these have called, as the server counts them.
    async fn calls(&self) -> (u64, u64) {
        let info: String =
            self.redis.commands().next_connected().info(Some(InfoKind::CommandStats)).await.unwrap();
        let calls: HashMap<&str, u64> = info
            .lines()
            .filter_map(|line| {
                let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
                Some((name, rest.split_once(',')?.0.parse().ok()?))
            })
            .collect();
        // What is asked beside the scripts: this very question, and whether Redis is well.
        let of_others = ["info", "set", "ping", "evalsha", "eval"];
        let scripts = calls.get("evalsha").unwrap_or(&0) + calls.get("eval").unwrap_or(&0);
        let commands = calls.iter().filter(|(name, _)| !of_others.contains(name)).map(|(_, calls)| calls);
        (scripts, commands.sum())
    }

    /// Asks the engine, however many calls that takes. None of them may be a long one: as many commands in all as so many
    /// calls may have, which a single long call would exceed.
    async fn bounded<T>(&self, what: &str, ask: impl AsyncFnOnce(&RedisEngine) -> T) -> T {
        let before = self.calls().await;
        let answer = ask(&self.engine).await;
        let after = self.calls().await;
        let (scripts, commands) = (after.0 - before.0, after.1 - before.1);
        assert!(commands <= MOST * scripts, "{what}: {scripts} calls had {commands} commands");
        answer
    }

    async fn tick(&self, at: Timestamp) -> Ticked {
        self.bounded("a tick", async |engine| engine.tick(PROMO, at, LogState::Ready).await.unwrap()).await
    }
}

async fn crowded_room() -> Counted {
    let server = OwnRedis::start(&[]);
    let redis = Redis::connect(&quick(server.url())).await.unwrap();
    let engine = Arc::new(engine(&redis));
    let counted = Counted { redis, engine, _server: server };
    let engine = &counted.engine;
    engine.open(POOL, opening(1, 5_000)).await.unwrap();
    let before_start = Gate { starts_at: NOW, ..gate() };
    engine.set_gate(POOL, before_start).await.unwrap();
    let admission = Admission { rate_per_s: 10_000, max_active: 5_000, pass_ttl_ms: 10_000 };
    engine.open_room_at(PROMO, RoomSettings { admission, ..settings() }, NOW).await.unwrap();
    let users: Vec<i64> = (1..=PLACES).collect();
    let early = NOW.minus_millis(1_000);
    for users in users.chunks(1_000) {
        let joiners: Vec<_> =
            users.iter().map(|user| (UserId(*user), DrawKey(user.unsigned_abs() * 7_919), early)).collect();
        engine.join_together(PROMO, &joiners).await.unwrap();
    }
    engine.tick(PROMO, early, LogState::Ready).await.unwrap();
    counted
}

#[tokio::test]
async fn a_crowd_is_opened_served_and_sent_home_in_bounded_steps() {
    let counted = crowded_room().await;
    let engine = &counted.engine;
    assert!(counted.tick(NOW).await.opened, "the lobby is numbered");
    assert_eq!(engine.view(PROMO).await.unwrap().lobby, PLACES.unsigned_abs());

    let ticked = counted.tick(NOW).await;
    assert!(ticked.more && ticked.changed.len() == STEPS, "passes are given in steps");
    while counted.tick(NOW.plus_millis(2_000)).await.more {}
    let active = engine.view(PROMO).await.unwrap().active;
    assert_eq!(active, 5_000, "one for each unit");

    let ticked = counted.tick(NOW.plus_millis(60_000)).await;
    assert!(ticked.more && ticked.changed.len() == STEPS, "passes lapse in steps");

    let (_, before) = counted.calls().await;
    engine.join(PROMO, UserId(PLACES + 1), DrawKey(1), NOW.plus_millis(60_000)).await.unwrap();
    let (_, after) = counted.calls().await;
    assert!(after - before < 40, "a join does not depend on who else is there");

    // A ledger that is built anew finds the room in place, and looks at its passes in steps.
    engine.open(POOL, opening(2, 100)).await.unwrap();
    let resume = async |engine: &RedisEngine| {
        engine.open_room_at(PROMO, settings(), NOW.plus_millis(60_000)).await.unwrap();
    };
    counted.bounded("a room that goes on", resume).await;
    assert_eq!(engine.view(PROMO).await.unwrap().active, 100);

    engine.set_gate(POOL, Gate { ended: true, ..gate() }).await.unwrap();
    let (mut home, mut ticks) = (0, 0);
    loop {
        let ticked = counted.tick(NOW.plus_millis(60_000)).await;
        assert!(ticked.changed.len() <= STEPS);
        home += ticked.changed.len();
        ticks += 1;
        if ticks == 1 {
            let view = engine.view(PROMO).await.unwrap();
            assert_eq!((view.waiting, view.active), (0, 0), "places and passes are gone at once");
        }
        if !ticked.more {
            break;
        }
    }
    assert_eq!(home + STEPS, usize::try_from(PLACES).unwrap() + 1, "all but those whose passes had lapsed");
    assert_eq!(engine.draw(PROMO, 19_990, 100).await.unwrap().len(), 10, "the draw stays");
}

/// More places than one round of ticks sends home, in a room that is not among the live ones any more.
#[tokio::test]
async fn everybody_is_sent_home_though_the_promo_is_not_live_any_more() {
    let counted = crowded_room().await;
    counted.tick(NOW).await;
    counted.engine.set_gate(POOL, Gate { ended: true, ..gate() }).await.unwrap();
    let stop = CancellationToken::new();
    let rounds = AtomicU32::new(0);
    let live = move || {
        let first = rounds.fetch_add(1, Ordering::Relaxed) == 0;
        std::future::ready(if first { vec![PROMO] } else { Vec::new() })
    };
    let rooms = Arc::clone(&counted.engine);
    let ticks = ticker::run(rooms, live, || LogState::Ready, Duration::from_millis(10), stop.clone());
    let ticks = tokio::spawn(ticks);
    let room = counted.redis.key(POOL, "room");
    testing::until("everybody to be told", async || {
        let told: Option<i64> = counted.redis.commands().hget(room.clone(), "sent_home").await.unwrap();
        told == Some(PLACES)
    })
    .await;
    stop.cancel();
    ticks.await.unwrap();
}

/// Who hold passes, as many as these.
async fn admitted(counted: &Counted, count: usize) -> Vec<UserId> {
    counted.tick(NOW).await;
    let mut admitted = Vec::new();
    while admitted.len() < count {
        let ticked = counted.tick(NOW.plus_millis(1_000)).await;
        assert!(!ticked.changed.is_empty(), "there are passes for {count}");
        admitted.extend(ticked.changed.iter().map(|standing| standing.user_id));
    }
    admitted.truncate(count);
    admitted
}

#[tokio::test]
async fn what_is_asked_for_many_becomes_calls_that_are_each_short() {
    const BUYERS: usize = 1_000;
    let counted = crowded_room().await;
    let buyers = admitted(&counted, BUYERS).await;
    let shoppers: Vec<UserId> = (1..=500).map(UserId).collect();
    let standings = async |engine: &RedisEngine| engine.standings(PROMO, &shoppers).await.unwrap();
    assert_eq!(counted.bounded("standings", standings).await.len(), 500);
    let seen = async |engine: &RedisEngine| engine.seen(PROMO, &shoppers, NOW).await.unwrap();
    counted.bounded("seen", seen).await;
    let draw = async |engine: &RedisEngine| engine.draw(PROMO, 7, 1_001).await.unwrap();
    let keys = counted.bounded("a draw", draw).await;
    assert!(keys.len() == 1_001 && keys.is_sorted(), "in as many calls as it takes, without gaps");

    let at = NOW.plus_millis(1_000);
    let mut verdicts = Vec::new();
    for buyers in buyers.chunks(128) {
        let orders: Vec<Reservation> = buyers.iter().map(|user| wish(*user, at)).collect();
        let (_, before) = counted.calls().await;
        let answers = counted.engine.reserve_together(POOL, &orders).await.unwrap();
        let (_, after) = counted.calls().await;
        let most = FOR_AN_ORDER * orders.len() as u64;
        assert!(after - before <= most, "an order does not cost more where more are waiting");
        assert!(answers.iter().all(|answer| matches!(answer, Reserved::Held(_))));
        verdicts.extend(orders.iter().map(|order| (order.order_id, POSTED)));
    }
    let later = NOW.plus_millis(2_000);
    let overdue = async |engine: &RedisEngine| engine.overdue(later, later, 2 * BUYERS).await.unwrap();
    let found = counted.bounded("what is overdue", overdue).await;
    assert!(
        found.len() == BUYERS && found.is_sorted_by_key(|order| order.order_id),
        "all of it, oldest first"
    );
    let settle = async |engine: &RedisEngine| engine.settle(POOL, &verdicts).await.unwrap();
    assert_eq!(counted.bounded("verdicts", settle).await.len(), BUYERS);

    let bought: Vec<OpeningOrder> = buyers.iter().map(|user| earlier(*user)).collect();
    let known = Opening { sold: 1_000, orders: bought, ..opening(2, 5_000) };
    counted.bounded("building", async |engine| engine.open(POOL, known.clone()).await.unwrap()).await;
    let resume = async |engine: &RedisEngine| engine.open_room_at(PROMO, settings(), later).await.unwrap();
    counted.bounded("a room that goes on", resume).await;
}

const POSTED: Verdict = Verdict::Posted { pay_before: Timestamp::from_millis(1_795_341_660_000) };

fn wish(user: UserId, at: Timestamp) -> Reservation {
    Reservation { reserved_at: at, ..order(user.0) }
}

/// An order that the shopper has made before the ledger was built.
fn earlier(user: UserId) -> OpeningOrder {
    let Reservation { order_id, request_id, .. } = order(user.0);
    OpeningOrder {
        order_id,
        request_id,
        user_id: user,
        quantity: 1,
        status: OrderStatus::AwaitingPayment,
        reason: None,
        created_at: NOW,
    }
}
