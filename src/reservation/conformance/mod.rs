//! What every engine of the ledgers and waiting rooms promises, as functions over the ports: what the model test, which
//! compares one promo's answers, does not show. Opening, several pools, the relay's questions, epochs, and the news.

use std::{sync::Arc, time::Duration};

use super::port::{Gate, Opening, OpeningOrder, Reservation, Reservations, Reserved};
use crate::{
    admission::port::{LogState, RoomSettings, WaitingRooms},
    domain::{
        Admission, DrawKey, Epoch, ItemId, OrderId, OrderStatus, PoolId, Price, PromoId, RequestId, Seed,
        Timestamp, UserId, Verdict,
    },
    random,
    results::port::{Event, Heard, Subscription},
};

pub(super) mod ledgers;
pub(super) mod news;

/// Every promise: `tests: $open` declares one test for each, `all: $open` keeps one after the other.
/// `$open` gives a [`Fixture`] with nothing in it.
macro_rules! conformance {
    ($mode:ident: $open:expr) => {
        $crate::reservation::conformance::conformance!(@ $mode $open,
            ledgers: an_unknown_pool_is_not_ready,
            ledgers: a_promo_sells_nothing_before_its_room_is_open,
            ledgers: an_items_pool_has_neither_room_nor_limit,
            ledgers: what_was_sold_before_is_known_after_opening,
            ledgers: requests_are_recognised_across_pools,
            ledgers: reservations_are_found_across_pools_until_they_are_settled,
            ledgers: the_relay_gets_what_is_overdue,
            ledgers: withdrawing_takes_only_what_nobody_holds,
            ledgers: an_earlier_epoch_does_not_replace_a_later_one,
            news: a_held_order_is_told,
            news: an_items_order_has_an_outcome_and_no_standing,
            news: a_verdict_is_told_once,
            news: closing_an_order_is_told,
            news: a_pause_is_told_and_other_gates_are_not,
            news: ticks_tell_openings_passes_and_the_end,
            news: passes_that_end_later_for_the_logs_sake_are_told,
        );
    };
    (@ tests $open:expr, $($group:ident: $promise:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                $crate::reservation::conformance::$group::$promise(&mut $open().await).await;
            }
        )*
    };
    (@ all $open:expr, $($group:ident: $promise:ident,)*) => {
        $( $crate::reservation::conformance::$group::$promise(&mut $open().await).await; )*
    };
}
pub(super) use conformance;

/// An engine: both ports at once.
pub(super) trait Engine: Reservations + WaitingRooms {}

impl<T: Reservations + WaitingRooms> Engine for T {}

/// An engine, and what is heard of it.
pub(super) struct Fixture {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) news: Box<dyn Subscription>,
    /// Whether building a ledger is told, as it must be where others hold sockets of its shoppers.
    pub(super) tells_building: bool,
}

const NOW: Timestamp = Timestamp::from_millis(1_795_341_600_000);
const EPOCH: Epoch = Epoch(4);
const LIMIT: u32 = 2;
const PROMO: PromoId = PromoId(3);
const PROMO_POOL: PoolId = PoolId::Promo(PROMO);
const ITEM_POOL: PoolId = PoolId::Item(ItemId(8));
const OTHER_ITEM_POOL: PoolId = PoolId::Item(ItemId(9));
const POSTED: Verdict = Verdict::Posted { pay_before: Timestamp::from_millis(1_795_341_660_000) };
/// How long news may take.
const PATIENCE: Duration = Duration::from_secs(20);

impl Fixture {
    async fn open(&mut self, pool: PoolId, opening: Opening) {
        self.engine.open(pool, opening).await.unwrap();
        if self.tells_building
            && let Some(promo) = pool.promo()
        {
            assert_eq!(self.heard(1).await, [Event::RoomRebuilt(promo)]);
        }
    }

    /// An item's pool with so many units.
    async fn item(&mut self, pool: PoolId, stock: u32) {
        self.open(pool, Opening { gate: None, per_user_limit: None, ..opening(stock) }).await;
    }

    /// A promo that has begun, with its room.
    async fn promo(&mut self, stock: u32) {
        self.open(PROMO_POOL, opening(stock)).await;
        self.engine.open_room(PROMO, settings()).await.unwrap();
    }

    /// Lets the shoppers through to a pass. The news of it is heard and forgotten.
    async fn admit(&mut self, users: &[UserId]) {
        for user in users {
            self.engine.join(PROMO, *user, DrawKey(1), NOW).await.unwrap();
        }
        // The first tick only starts the clock, and reports the opening.
        self.engine.tick(PROMO, NOW.minus_millis(1_000), LogState::Ready).await.unwrap();
        let ticked = self.engine.tick(PROMO, NOW, LogState::Ready).await.unwrap();
        assert_eq!(ticked.changed.len(), users.len(), "everybody is admitted");
        self.heard(1 + usize::from(!ticked.opened) * users.len()).await;
    }

    /// A held order.
    async fn hold(&self, order: Reservation) -> Reservation {
        match self.engine.reserve(order).await.unwrap() {
            Reserved::Held(held) => held,
            other => panic!("not held: {other:?}"),
        }
    }

    /// The next events, as many as these.
    async fn heard(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            match tokio::time::timeout(PATIENCE, self.news.next()).await {
                Ok(Heard::Events(more)) => events.extend(more.iter().cloned()),
                other => panic!("{other:?} after {events:?}"),
            }
        }
        events
    }
}

fn gate() -> Gate {
    Gate {
        starts_at: NOW.minus_millis(60_000),
        ends_at: NOW.plus_millis(60_000),
        paused: false,
        ended: false,
    }
}

fn settings() -> RoomSettings {
    RoomSettings {
        draw: Seed([7; 32]).commit(),
        admission: Admission { rate_per_s: 100, max_active: 100, pass_ttl_ms: 5_000 },
        grace_ms: 10_000,
        max_unsettled: 100,
        max_places: 1_000,
    }
}

fn opening(stock: u32) -> Opening {
    Opening {
        epoch: EPOCH,
        initial: stock,
        sold: 0,
        per_user_limit: Some(LIMIT),
        gate: Some(gate()),
        orders: Vec::new(),
    }
}

fn order(user: i64, pool: PoolId) -> Reservation {
    Reservation {
        order_id: random::order_id(),
        request_id: RequestId(random::uuid()),
        user_id: UserId(user),
        pool,
        item_id: ItemId(7),
        quantity: 1,
        price: Price(900),
        payment_window_ms: 60_000,
        reserved_at: NOW,
        epoch: Epoch::default(),
    }
}

/// An order that was settled before the ledger was built.
fn earlier(user: i64, status: OrderStatus) -> OpeningOrder {
    OpeningOrder {
        order_id: random::order_id(),
        request_id: RequestId(random::uuid()),
        user_id: UserId(user),
        quantity: 1,
        status,
        reason: None,
        created_at: NOW.minus_millis(1_000),
    }
}

fn ids(orders: &[Reservation]) -> Vec<OrderId> {
    orders.iter().map(|order| order.order_id).collect()
}
