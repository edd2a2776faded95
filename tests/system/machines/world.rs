//! A promo in the pure machine, the time, and what was answered. What commands are to it is in [`calls`].

use std::collections::{BTreeMap, HashMap};

use panicbuy::{
    admission::{
        port::{LogState, RoomSettings, RoomView, Ticked},
        room::Room,
    },
    domain::{
        Admission, DrawKey, Epoch, OrderId, OrderStatus, PromoId, Reason, Seed, Standing, Timestamp, UserId,
        Verdict,
    },
    reservation::{
        ledger::Ledger,
        pool::Pool,
        port::{Closed, Gate, Opening, OpeningOrder, Reservation, Reserved, Snapshot},
    },
};

use super::history::{Command, users};

mod calls;

pub use calls::{Call, Said};

/// From the beginning of a history to the opening.
pub const UNTIL_OPEN_MS: u64 = 1_000;
const UNTIL_END_MS: u64 = 600_000;
/// How long a repeated request is recognised where nothing else is said: longer than a history.
const REQUEST_MEMORY_MS: u64 = 3_600_000;

/// Everything about a promo that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    pub snapshot: Snapshot,
    pub view: RoomView,
    pub standings: Vec<Standing>,
    pub draw: Vec<DrawKey>,
    /// Two keys from the second on.
    pub page: Vec<DrawKey>,
    /// Reservations that the relay would log again.
    pub overdue: Vec<Reservation>,
}

/// A promo in the pure machine.
pub struct World {
    pub pool: Pool,
    pub promo: PromoId,
    pub settings: RoomSettings,
    now: Timestamp,
    gate: Gate,
    /// The order log as ticks find it.
    pub log: LogState,
    per_user_limit: u32,
    request_memory_ms: u64,
    made: u64,
    orders: Vec<Reservation>,
    /// How the orders stand that have their verdict.
    decided: BTreeMap<OrderId, (OrderStatus, Option<Reason>)>,
    unsettled: HashMap<OrderId, u32>,
    first_answers: HashMap<(i64, u8), OrderId>,
    numbers_given: u64,
    /// How often a repeated request got another order than the first time.
    pub first_answers_contradicted: usize,
    pub last_settles: Vec<(OrderId, bool)>,
    pub last_closes: Vec<(OrderId, Closed)>,
    /// Whether the shopper held a live pass, the quantity, and the answer; of a single order.
    pub last_order: Option<(bool, u32, Reserved)>,
}

impl World {
    pub fn new(stock: u32, per_user_limit: u32) -> Self {
        Self::with_bounds(stock, per_user_limit, REQUEST_MEMORY_MS, 100)
    }

    /// A world in which requests are forgotten so soon, and the room has so many places.
    pub fn with_bounds(stock: u32, per_user_limit: u32, request_memory_ms: u64, max_places: u32) -> Self {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let gate = Gate {
            starts_at: now.plus_millis(UNTIL_OPEN_MS),
            ends_at: now.plus_millis(UNTIL_END_MS),
            paused: false,
            ended: false,
        };
        let settings = RoomSettings {
            draw: Seed([0; 32]).commit(),
            admission: Admission { rate_per_s: 2, max_active: 3, pass_ttl_ms: 5_000 },
            grace_ms: 10_000,
            max_unsettled: 3,
            max_places,
        };
        let opening = Opening {
            epoch: Epoch(1),
            initial: stock,
            sold: 0,
            per_user_limit: Some(per_user_limit),
            gate: Some(gate),
            orders: Vec::new(),
        };
        let ledger = Ledger::new(opening, request_memory_ms);
        Self {
            pool: Pool { ledger, room: Some(Room::new(settings)) },
            promo: PromoId(1),
            settings,
            now,
            gate,
            log: LogState::Ready,
            per_user_limit,
            request_memory_ms,
            made: 0,
            orders: Vec::new(),
            decided: BTreeMap::new(),
            unsettled: HashMap::new(),
            first_answers: HashMap::new(),
            numbers_given: 0,
            first_answers_contradicted: 0,
            last_settles: Vec::new(),
            last_closes: Vec::new(),
            last_order: None,
        }
    }

    /// The promo as the database has it.
    pub fn opening(&self, epoch: Epoch) -> Opening {
        let known = self.orders.iter().filter_map(|order| Some((order, self.decided.get(&order.order_id)?)));
        let orders: Vec<OpeningOrder> = known
            .map(|(order, &(status, reason))| OpeningOrder {
                order_id: order.order_id,
                request_id: order.request_id,
                user_id: order.user_id,
                quantity: order.quantity,
                status,
                reason,
                created_at: order.reserved_at,
            })
            .collect();
        let initial = self.pool.ledger.initial();
        let sold = self.pool.ledger.sold();
        Opening {
            epoch,
            initial,
            sold,
            per_user_limit: Some(self.per_user_limit),
            gate: Some(self.gate),
            orders,
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
        self.gate.ended
            || self.now >= self.gate.ends_at
            || self.pool.room.as_ref().is_some_and(Room::is_closed)
    }

    pub fn now(&self) -> Timestamp {
        self.now
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
        self.pool.tick(self.promo, self.now, self.log)
    }

    pub fn apply(&mut self, command: &Command) {
        self.forget_answers();
        if let Some(call) = self.call(command) {
            self.perform(&call);
        }
    }

    fn forget_answers(&mut self) {
        self.last_settles.clear();
        self.last_closes.clear();
        self.last_order = None;
    }

    /// The pure machine's answer.
    pub fn perform(&mut self, call: &Call) -> Said {
        self.forget_answers();
        let said = self.ask(call);
        self.note(call, &said);
        let highest = users().filter_map(|user| self.pool.standing(self.promo, user).number).max();
        self.numbers_given = self.numbers_given.max(highest.unwrap_or(0));
        said
    }

    fn ask(&mut self, call: &Call) -> Said {
        let (pool, promo) = (&mut self.pool, self.promo);
        match call {
            Call::Join(joiners) => Said::Joined(
                joiners
                    .iter()
                    .map(|&(user, key, now)| {
                        pool.join(user, key, now).ok().map(|()| pool.standing(promo, user))
                    })
                    .collect(),
            ),
            Call::Leave(user) => {
                pool.room.as_mut().expect("the pool has a room").leave(*user);
                Said::Stands(pool.standing(promo, *user))
            }
            Call::Seen(users, now) => {
                let room = pool.room.as_mut().expect("the pool has a room");
                for user in users {
                    room.seen(*user, *now);
                }
                Said::Nothing
            }
            Call::Tick(now, log) => Said::Ticked(pool.tick(promo, *now, *log)),
            Call::Reserve(orders) => self.reserve(orders),
            Call::DeferAnswer(order) => Said::Deferred(pool.ledger.defer_answer(*order)),
            Call::Logged(order) => {
                pool.ledger.logged(*order);
                Said::Nothing
            }
            Call::Settle(verdicts) => Said::Settled(
                verdicts.iter().filter_map(|(order, verdict)| pool.ledger.settle(*order, *verdict)).collect(),
            ),
            Call::Close(order, how) => Said::Closed(pool.ledger.close(*order, *how)),
            Call::Deposit(units) => {
                pool.ledger.deposit(*units);
                Said::Nothing
            }
            Call::Withdraw(units) => Said::Withdrawn(pool.withdraw(*units)),
            Call::Configure(admission) => {
                pool.room.as_mut().expect("the pool has a room").configure(*admission);
                Said::Nothing
            }
            Call::SetGate(gate) => {
                pool.ledger.set_gate(*gate);
                Said::Nothing
            }
            Call::Open(opening, now) => {
                let room = pool.room.take().expect("the pool has a room");
                pool.ledger = Ledger::new(opening.clone(), self.request_memory_ms);
                pool.room = Some(Room::new(self.settings));
                pool.go_on(room, *now);
                Said::Nothing
            }
        }
    }

    fn reserve(&mut self, orders: &[Reservation]) -> Said {
        let mut answers = Vec::new();
        for order in orders {
            let room = self.pool.room.as_ref().expect("the pool has a room");
            let had_pass = room.has_pass(order.user_id, order.reserved_at);
            let answer = self.pool.reserve(order.clone());
            self.last_order = Some((had_pass, order.quantity, answer.clone()));
            answers.push(answer);
        }
        Said::Reserved(answers)
    }

    fn note(&mut self, call: &Call, said: &Said) {
        match (call, said) {
            (Call::Reserve(orders), Said::Reserved(answers)) => {
                for (order, answer) in orders.iter().zip(answers) {
                    self.note_order(order, answer);
                }
            }
            (Call::Settle(verdicts), Said::Settled(settled)) => {
                for settled in settled {
                    let (order, decided) = (settled.reservation.order_id, decided(settled.verdict));
                    self.unsettled.remove(&order);
                    self.decided.insert(order, decided);
                }
                let first_time =
                    |id: &OrderId| settled.iter().any(|settled| settled.reservation.order_id == *id);
                self.last_settles = verdicts.iter().map(|(id, _)| (*id, first_time(id))).collect();
            }
            (Call::Close(order, how), Said::Closed(closed)) => {
                if *closed == Closed::Now {
                    self.decided.insert(*order, (how.status(), None));
                }
                self.last_closes.push((*order, *closed));
            }
            (Call::SetGate(gate), _) => self.gate = *gate,
            (Call::Open(..), _) => self.unsettled.clear(),
            _ => {}
        }
    }

    fn note_order(&mut self, order: &Reservation, answer: &Reserved) {
        let answered = match answer {
            Reserved::Held(held) => {
                self.unsettled.insert(held.order_id, held.quantity);
                self.orders.push(held.clone());
                Some(held.order_id)
            }
            Reserved::Repeated { order_id, .. } => Some(*order_id),
            Reserved::Refused(_) => None,
        };
        let request = u8::try_from(order.request_id.0.as_u128()).expect("requests are small numbers here");
        let first = self.first_answers.get(&(order.user_id.0, request)).copied();
        if first.is_some() && first != answered {
            self.first_answers_contradicted += 1;
        }
        if let Some(answered) = answered {
            self.first_answers.entry((order.user_id.0, request)).or_insert(answered);
        }
    }

    /// Everything that can be asked for, as the pure machine has it.
    pub fn look(&self) -> Look {
        let (pool, room) = (&self.pool, self.pool.room.as_ref().expect("the pool has a room"));
        Look {
            snapshot: pool.snapshot(),
            view: pool.view().expect("the pool has a room"),
            standings: users().map(|user| pool.standing(self.promo, user)).collect(),
            draw: room.draw(0, 100),
            page: room.draw(1, 2),
            overdue: pool.ledger.overdue(self.now, self.logged_before()).cloned().collect(),
        }
    }

    /// Orders in the log before this instant should have been settled.
    pub fn logged_before(&self) -> Timestamp {
        self.now.minus_millis(3_000)
    }

    /// Unsettled reservations of the shopper.
    pub fn pending_of(&self, user: UserId) -> Vec<Reservation> {
        let of_user = self.orders.iter().filter(|order| order.user_id == user);
        of_user.filter_map(|order| self.pool.ledger.pending(order.order_id).cloned()).collect()
    }
}

fn decided(verdict: Verdict) -> (OrderStatus, Option<Reason>) {
    match verdict {
        Verdict::Posted { .. } => (OrderStatus::AwaitingPayment, None),
        Verdict::Void { reason } => (OrderStatus::Rejected, Some(reason)),
    }
}
