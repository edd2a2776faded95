//! Everybody at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::task::JoinSet;

use super::{super::RedisEngine, NOW, POOL, PROMO, clear, engine, opening, order, settings, shared};
use crate::{
    admission::port::{LogState, RoomSettings, WaitingRooms},
    domain::{DrawKey, OrderId, Phase, Reason, Timestamp, UserId, Verdict},
    reservation::port::{Reservations, Reserved},
};

const SHOPPERS: i64 = 200;
const STOCK: u32 = 50;

/// Time that the test lets pass.
struct Sale {
    engine: RedisEngine,
    elapsed_ms: AtomicI64,
    sold: AtomicU32,
}

impl Sale {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOW.as_millis() + self.elapsed_ms.load(Ordering::Relaxed))
    }

    fn is_over(&self) -> bool {
        self.sold.load(Ordering::Relaxed) == STOCK
    }

    async fn keep_ticking(&self) {
        while !self.is_over() {
            self.elapsed_ms.fetch_add(20, Ordering::Relaxed);
            self.engine.tick(PROMO, self.now(), LogState::Ready).await.unwrap();
            let units = self.engine.snapshot(POOL).await.unwrap();
            assert_eq!(units.initial, units.available + units.pending + units.sold);
            assert!(units.holds <= units.available, "a pass without a unit: {units:?}");
        }
    }

    /// Waits to be admitted, and orders then. Every fifth order is void the first time.
    async fn shop(&self, user: i64) {
        self.engine.join(PROMO, UserId(user), DrawKey(0), self.now()).await.unwrap();
        let mut tries = 0;
        while !self.is_over() {
            let standing = self.engine.standings(PROMO, &[UserId(user)]).await.unwrap().remove(0);
            match standing.phase {
                Phase::Admitted => {
                    let wish =
                        crate::reservation::port::Reservation { reserved_at: self.now(), ..order(user) };
                    let id = wish.order_id;
                    let answer = self.engine.reserve(wish).await.unwrap();
                    assert!(matches!(answer, Reserved::Held(_)), "a pass holder was told {answer:?}");
                    tries += 1;
                    if self.settle(id, user % 5 == 0 && tries == 1).await {
                        return;
                    }
                    self.engine.join(PROMO, UserId(user), DrawKey(0), self.now()).await.unwrap();
                }
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// `true`: it was sold.
    async fn settle(&self, order: OrderId, void: bool) -> bool {
        let verdict = if void {
            Verdict::Void { reason: Reason::SoldOut }
        } else {
            Verdict::Posted { pay_before: self.now().plus_millis(60_000) }
        };
        assert_eq!(self.engine.settle(POOL, &[(order, verdict)]).await.unwrap().len(), 1);
        if !void {
            self.sold.fetch_add(1, Ordering::Relaxed);
        }
        !void
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_sells_every_unit_once_and_keeps_every_pass() {
    let redis = shared().await;
    let engine = engine(&redis);
    engine.open(POOL, opening(1, STOCK)).await.unwrap();
    let settings = RoomSettings { max_unsettled: 20, ..settings() };
    engine.open_room_at(PROMO, settings, NOW).await.unwrap();
    let sale = Arc::new(Sale { engine, elapsed_ms: AtomicI64::new(0), sold: AtomicU32::new(0) });
    let mut tasks = JoinSet::new();
    for user in 1..=SHOPPERS {
        let sale = Arc::clone(&sale);
        tasks.spawn(async move { sale.shop(user).await });
    }
    let ticking = Arc::clone(&sale);
    tasks.spawn(async move { ticking.keep_ticking().await });
    tokio::time::timeout(Duration::from_mins(1), tasks.join_all()).await.expect("the sale comes to its end");

    let units = sale.engine.snapshot(POOL).await.unwrap();
    assert_eq!((units.available, units.pending, units.sold, units.holds), (0, 0, STOCK, 0));
    clear(&redis).await;
}
