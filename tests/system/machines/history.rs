//! Generated histories: the commands a promo may see, biased to few shoppers and little stock, and a world to run them in.

use std::collections::HashMap;

use panicbuy::{
    admission::{
        port::{RoomSettings, Ticked},
        room::Room,
    },
    domain::{
        Admission, DrawKey, ItemId, OrderId, PoolId, Price, PromoId, Reason, RequestId, Seed, Timestamp,
        UserId, Verdict,
    },
    reservation::{
        ledger::Ledger,
        pool::Pool,
        port::{Closed, Closing, Gate, Opening, Reservation, Reserved},
    },
};
use proptest::prelude::*;
use uuid::Uuid;

/// From the beginning of a history to the opening.
pub const UNTIL_OPEN_MS: u64 = 1_000;
const UNTIL_END_MS: u64 = 600_000;
const USERS: i64 = 8;

/// One thing that may happen to a promo.
#[derive(Clone, Debug)]
pub enum Command {
    Join {
        user: i64,
    },
    Leave {
        user: i64,
    },
    Seen {
        user: i64,
    },
    /// Time passes, and the room ticks.
    Time {
        ms: u64,
    },
    Order {
        user: i64,
        request: u8,
        quantity: u32,
    },
    /// The writer's verdict on the n-th order ever held, possibly again.
    Settle {
        nth: usize,
        post: bool,
    },
    Close {
        nth: usize,
        how: Closing,
    },
    Deposit {
        units: u32,
    },
    Pause,
    Resume,
    End,
}

/// Histories of at most `length` commands.
pub fn commands(length: usize) -> impl Strategy<Value = Vec<Command>> {
    let user = 1..=USERS;
    let how = prop_oneof![Just(Closing::Paid), Just(Closing::Cancelled), Just(Closing::Expired)];
    let command = prop_oneof![
        6 => user.clone().prop_map(|user| Command::Join { user }),
        1 => user.clone().prop_map(|user| Command::Leave { user }),
        2 => user.clone().prop_map(|user| Command::Seen { user }),
        8 => prop_oneof![Just(50_u64), Just(400), Just(1_500), Just(6_000), Just(40_000)]
            .prop_map(|ms| Command::Time { ms }),
        10 => (user, 0_u8..3, 1_u32..3).prop_map(|(user, request, quantity)| Command::Order { user, request, quantity }),
        6 => (0_usize..8, prop::bool::weighted(0.8)).prop_map(|(nth, post)| Command::Settle { nth, post }),
        4 => (0_usize..8, how).prop_map(|(nth, how)| Command::Close { nth, how }),
        1 => (1_u32..3).prop_map(|units| Command::Deposit { units }),
        1 => Just(Command::Pause),
        2 => Just(Command::Resume),
        1 => prop::bool::weighted(0.1).prop_map(|end| if end { Command::End } else { Command::Resume }),
    ];
    prop::collection::vec(command, 1..length)
}

/// Everybody who may appear in a history.
pub fn users() -> impl Iterator<Item = UserId> {
    (1..=USERS).map(UserId)
}

/// A promo, the time, and what was answered.
pub struct World {
    pub pool: Pool,
    pub promo: PromoId,
    now: Timestamp,
    gate: Gate,
    orders: Vec<Reservation>,
    unsettled: HashMap<OrderId, u32>,
    first_answers: HashMap<(i64, u8), OrderId>,
    numbers_given: u64,
    /// How often a repeated request got another order than the first time.
    pub first_answers_contradicted: usize,
    pub last_settles: Vec<(OrderId, bool)>,
    pub last_closes: Vec<(OrderId, Closed)>,
    /// Whether the shopper held a live pass, the quantity, and the answer.
    pub last_order: Option<(bool, u32, Reserved)>,
}

impl World {
    pub fn new(stock: u32, per_user_limit: u32) -> Self {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let gate = Gate {
            starts_at: now.plus_millis(UNTIL_OPEN_MS),
            ends_at: now.plus_millis(UNTIL_END_MS),
            paused: false,
            ended: false,
        };
        let opening = Opening {
            initial: stock,
            sold: 0,
            per_user_limit: Some(per_user_limit),
            gate: Some(gate),
            orders: Vec::new(),
        };
        let settings = RoomSettings {
            draw: Seed([0; 32]).commit(),
            admission: Admission { rate_per_s: 2, max_active: 3, pass_ttl_ms: 5_000 },
            grace_ms: 10_000,
            max_unsettled: 3,
            max_places: 100,
        };
        Self {
            pool: Pool { ledger: Ledger::new(opening, 3_600_000), room: Some(Room::new(settings)) },
            promo: PromoId(1),
            now,
            gate,
            orders: Vec::new(),
            unsettled: HashMap::new(),
            first_answers: HashMap::new(),
            numbers_given: 0,
            first_answers_contradicted: 0,
            last_settles: Vec::new(),
            last_closes: Vec::new(),
            last_order: None,
        }
    }

    /// The highest number anybody was ever shown.
    pub fn numbers_given(&self) -> u64 {
        self.numbers_given
    }

    pub fn unsettled_units(&self) -> u32 {
        self.unsettled.values().sum()
    }

    /// Whether the promo is over.
    pub fn over(&self) -> bool {
        self.gate.ended || self.now >= self.gate.ends_at
    }

    pub fn join_with_key(&mut self, user: UserId, key: u64) {
        self.pool.join(user, DrawKey(key), self.now).expect("the room has space");
    }

    pub fn pass_time(&mut self, ms: u64) {
        self.skip_time(ms);
        self.tick();
    }

    /// Time passes, and nobody notices.
    pub fn skip_time(&mut self, ms: u64) {
        self.now = self.now.plus_millis(ms);
    }

    pub fn tick(&mut self) -> Ticked {
        self.pool.tick(self.promo, self.now)
    }

    pub fn apply(&mut self, command: &Command) {
        self.last_settles.clear();
        self.last_closes.clear();
        self.last_order = None;
        match *command {
            Command::Join { user } => self.join_with_key(UserId(user), user.unsigned_abs() * 7 % 5),
            Command::Leave { user } => {
                self.pool.room.as_mut().expect("the pool has a room").leave(UserId(user));
            }
            Command::Seen { user } => {
                self.pool.room.as_mut().expect("the pool has a room").seen(UserId(user), self.now);
            }
            Command::Time { ms } => self.pass_time(ms),
            Command::Order { user, request, quantity } => self.order(user, request, quantity),
            Command::Settle { nth, post } => self.settle(nth, post),
            Command::Close { nth, how } => {
                if let Some(order) = self.orders.get(nth).map(|order| order.order_id) {
                    self.last_closes.push((order, self.pool.ledger.close(order, how)));
                }
            }
            Command::Deposit { units } => self.pool.ledger.deposit(units),
            Command::Pause => self.set_gate(true, self.gate.ended),
            Command::Resume => self.set_gate(false, self.gate.ended),
            Command::End => self.set_gate(self.gate.paused, true),
        }
        let highest = users().filter_map(|user| self.pool.standing(self.promo, user).number).max();
        self.numbers_given = self.numbers_given.max(highest.unwrap_or(0));
    }

    fn set_gate(&mut self, paused: bool, ended: bool) {
        self.gate = Gate { paused, ended, ..self.gate };
        self.pool.ledger.set_gate(self.gate);
    }

    fn order(&mut self, user: i64, request: u8, quantity: u32) {
        let wish = Reservation {
            order_id: OrderId(Uuid::from_u128(self.orders.len() as u128 + 1)),
            request_id: RequestId(Uuid::from_u128(u128::from(request))),
            user_id: UserId(user),
            pool: PoolId::Promo(self.promo),
            item_id: ItemId(1),
            quantity,
            price: Price(100),
            payment_window_ms: 60_000,
            reserved_at: self.now,
        };
        let room = self.pool.room.as_ref().expect("the pool has a room");
        let had_pass = room.has_pass(UserId(user), self.now);
        let answer = self.pool.reserve(wish);
        let answered = match &answer {
            Reserved::Held(held) => {
                self.unsettled.insert(held.order_id, held.quantity);
                self.orders.push(held.clone());
                Some(held.order_id)
            }
            Reserved::Repeated { order_id, .. } => Some(*order_id),
            Reserved::Refused(_) => None,
        };
        let first = self.first_answers.get(&(user, request)).copied();
        if first.is_some() && first != answered {
            self.first_answers_contradicted += 1;
        }
        if let Some(order) = answered {
            self.first_answers.entry((user, request)).or_insert(order);
        }
        self.last_order = Some((had_pass, quantity, answer));
    }

    fn settle(&mut self, nth: usize, post: bool) {
        let Some(order) = self.orders.get(nth).map(|order| order.order_id) else { return };
        let verdict = if post {
            Verdict::Posted { pay_before: self.now.plus_millis(60_000) }
        } else {
            Verdict::Void { reason: Reason::SoldOut }
        };
        let settled = self.pool.ledger.settle(order, verdict);
        self.unsettled.remove(&order);
        self.last_settles.push((order, settled.is_some()));
    }
}
