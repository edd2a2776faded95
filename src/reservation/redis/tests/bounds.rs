//! No call does more work than a bound, however large the room: the work is counted in commands, not in time.

use std::collections::HashMap;

use fred::{interfaces::ClientLike, types::InfoKind};

use super::{super::RedisEngine, NOW, POOL, PROMO, engine, gate, opening, settings};
use crate::{
    admission::port::{LogState, RoomSettings, Ticked, WaitingRooms},
    domain::{Admission, DrawKey, Timestamp, UserId},
    redis::{
        Redis,
        testing::{OwnRedis, quick},
    },
    reservation::port::{Gate, Reservations},
};

const PLACES: i64 = 20_000;
/// Shoppers a tick may act on.
const STEPS: usize = 64;
/// Commands of one script call, at most: a few for each step.
const MOST: u64 = 20 * STEPS as u64;

/// A server that only this test talks to.
struct Counted {
    redis: Redis,
    engine: RedisEngine,
    _server: OwnRedis,
}

impl Counted {
    /// Commands that the scripts have called so far, as the server counts them.
    async fn calls(&self) -> u64 {
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
        calls.iter().filter(|(name, _)| !of_others.contains(name)).map(|(_, calls)| calls).sum()
    }

    async fn tick(&self, at: Timestamp) -> Ticked {
        let before = self.calls().await;
        let ticked = self.engine.tick(PROMO, at, LogState::Ready).await.unwrap();
        let calls = self.calls().await - before;
        assert!(calls <= MOST, "a tick that changed {} took {calls} commands", ticked.changed.len());
        ticked
    }
}

async fn crowded_room() -> Counted {
    let server = OwnRedis::start(&[]);
    let redis = Redis::connect(&quick(server.url())).await.unwrap();
    let engine = engine(&redis);
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

    let before = counted.calls().await;
    engine.join(PROMO, UserId(PLACES + 1), DrawKey(1), NOW.plus_millis(60_000)).await.unwrap();
    assert!(counted.calls().await - before < 40, "a join does not depend on who else is there");

    // A ledger that is built anew finds the room in place, and looks at its passes in steps.
    engine.open(POOL, opening(2, 100)).await.unwrap();
    engine.open_room_at(PROMO, settings(), NOW.plus_millis(60_000)).await.unwrap();
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
