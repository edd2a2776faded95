//! The pure ledger of one pool: units available, pending and sold, and who holds them.
//!
//! This is the executable specification of reservation. No I/O and no clock: time comes in with each command.
//! At every instant `initial = available + pending + sold`, and repeating any command with the same id changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::{Epoch, OrderId, OrderStatus, Reason, RequestId, Timestamp, UserId, Verdict};

use super::port::{Closed, Closing, Gate, Insufficient, Opening, Reservation, Reserved, Settled};

/// The stock of one pool.
#[derive(Debug)]
pub struct Ledger {
    epoch: Epoch,
    initial: u32,
    available: u32,
    /// Units of unsettled reservations.
    pending_units: u32,
    sold: u32,
    version: u64,
    gate: Option<Gate>,
    per_user_limit: Option<u32>,
    /// Reservations without a verdict, oldest first (order ids sort by time).
    pending: BTreeMap<OrderId, Pending>,
    /// Posted orders that are neither paid nor given back.
    posted: HashMap<OrderId, Posted>,
    /// What each shopper of a promo holds. Empty for an item's own pool, which has no limit.
    shoppers: HashMap<UserId, Shopper>,
    requests: RequestMemory,
}

#[derive(Debug)]
struct Pending {
    reservation: Reservation,
    logged: bool,
    /// Nobody has told the shopper "accepted" yet: whoever tells the outcome says it first.
    answer_deferred: bool,
}

#[derive(Debug)]
struct Posted {
    user_id: UserId,
    quantity: u32,
}

#[derive(Debug, Default)]
struct Shopper {
    /// Units in pending, posted and paid orders.
    live: u32,
    last: Option<LastOrder>,
}

/// A shopper's latest order in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastOrder {
    pub order_id: OrderId,
    pub status: OrderStatus,
    pub reason: Option<Reason>,
    pub made_at: Timestamp,
}

impl Ledger {
    /// The ledger of a pool as the database has it. `request_memory_ms`: how long a repeated request is recognised.
    pub fn new(opening: Opening, request_memory_ms: u64) -> Self {
        let mut ledger = Self {
            epoch: opening.epoch,
            initial: opening.initial,
            available: opening.initial.saturating_sub(opening.sold),
            pending_units: 0,
            sold: opening.sold,
            version: 1,
            gate: opening.gate,
            per_user_limit: opening.per_user_limit,
            pending: BTreeMap::new(),
            posted: HashMap::new(),
            shoppers: HashMap::new(),
            requests: RequestMemory::new(request_memory_ms),
        };
        for order in opening.orders {
            ledger.requests.insert(order.user_id, order.request_id, order.order_id, order.created_at);
            if order.status == OrderStatus::AwaitingPayment {
                let posted = Posted { user_id: order.user_id, quantity: order.quantity };
                ledger.posted.insert(order.order_id, posted);
            }
            let last = LastOrder {
                order_id: order.order_id,
                status: order.status,
                reason: order.reason,
                made_at: order.created_at,
            };
            if let Some(shopper) = ledger.shopper(order.user_id) {
                shopper.last = Some(last);
                if matches!(order.status, OrderStatus::AwaitingPayment | OrderStatus::Paid) {
                    shopper.live += order.quantity;
                }
            }
        }
        ledger
    }

    /// Changes when the pool takes orders.
    pub fn set_gate(&mut self, gate: Gate) {
        self.gate = Some(gate);
    }

    /// Checks the order in the contract's order of reasons and takes its units.
    /// `has_pass`: whether the shopper holds a live pass; `true` for a pool without a waiting room.
    /// `promised`: units that stand behind other shoppers' passes and are not this shopper's to take.
    pub fn reserve(&mut self, mut order: Reservation, has_pass: bool, promised: u32) -> Reserved {
        let now = order.reserved_at;
        order.epoch = self.epoch;
        self.requests.forget_before(now);
        if let Some(order_id) = self.requests.find(order.user_id, order.request_id) {
            return Reserved::Repeated { order_id, unlogged: self.unlogged_order(order_id) };
        }
        if let Some(reason) = self.refusal(&order, has_pass, promised) {
            return Reserved::Refused(reason);
        }
        self.available -= order.quantity;
        self.pending_units += order.quantity;
        self.version += 1;
        self.requests.insert(order.user_id, order.request_id, order.order_id, now);
        if let Some(shopper) = self.shopper(order.user_id) {
            shopper.live += order.quantity;
            shopper.last = Some(LastOrder {
                order_id: order.order_id,
                status: OrderStatus::Pending,
                reason: None,
                made_at: now,
            });
        }
        let entry = Pending { reservation: order.clone(), logged: false, answer_deferred: false };
        self.pending.insert(order.order_id, entry);
        Reserved::Held(order)
    }

    fn refusal(&self, order: &Reservation, has_pass: bool, promised: u32) -> Option<Reason> {
        let now = order.reserved_at;
        if let Some(gate) = self.gate {
            if now < gate.starts_at {
                return Some(Reason::NotStarted);
            }
            if gate.paused {
                return Some(Reason::Paused);
            }
            if is_over(gate, now) {
                return Some(Reason::Ended);
            }
        }
        if !has_pass {
            return Some(Reason::NoPass);
        }
        if let Some(limit) = self.per_user_limit
            && self.live_units(order.user_id).saturating_add(order.quantity) > limit
        {
            return Some(Reason::LimitReached);
        }
        (order.quantity > self.available.saturating_sub(promised)).then_some(Reason::SoldOut)
    }

    /// Notes that a reservation is in the order log.
    pub fn logged(&mut self, order: OrderId) {
        if let Some(entry) = self.pending.get_mut(&order) {
            entry.logged = true;
        }
    }

    /// Leaves it to whoever tells the outcome to say "accepted" first. `false`: the order is settled already.
    pub fn defer_answer(&mut self, order: OrderId) -> bool {
        let entry = self.pending.get_mut(&order);
        entry.map(|entry| entry.answer_deferred = true).is_some()
    }

    /// Applies the writer's verdict. `None`: it was applied before.
    pub fn settle(&mut self, order: OrderId, verdict: Verdict) -> Option<Settled> {
        let Pending { reservation, answer_deferred, .. } = self.pending.remove(&order)?;
        self.version += 1;
        let Reservation { user_id, quantity, .. } = reservation;
        self.pending_units -= quantity;
        let (status, reason) = match verdict {
            Verdict::Posted { .. } => {
                self.sold += quantity;
                self.posted.insert(order, Posted { user_id, quantity });
                (OrderStatus::AwaitingPayment, None)
            }
            Verdict::Void { reason } => {
                self.give_back(user_id, quantity);
                (OrderStatus::Rejected, Some(reason))
            }
        };
        self.mark(user_id, order, status, reason);
        Some(Settled { reservation, verdict, answer_deferred })
    }

    /// Closes a posted order, giving its units back unless it was paid.
    pub fn close(&mut self, order: OrderId, how: Closing) -> Closed {
        if self.pending.contains_key(&order) {
            return Closed::NotSettled;
        }
        let Some(Posted { user_id, quantity }) = self.posted.remove(&order) else {
            return Closed::Before;
        };
        self.version += 1;
        if how != Closing::Paid {
            self.sold -= quantity;
            self.give_back(user_id, quantity);
        }
        self.mark(user_id, order, how.status(), None);
        Closed::Now
    }

    /// Adds fresh units.
    pub fn deposit(&mut self, units: u32) {
        self.initial += units;
        self.available += units;
        self.version += 1;
    }

    /// Takes units out of the pool that nobody holds.
    pub fn withdraw(&mut self, units: u32) -> Result<(), Insufficient> {
        if units > self.available {
            return Err(Insufficient { available: self.available });
        }
        self.initial -= units;
        self.available -= units;
        self.version += 1;
        Ok(())
    }

    /// Which building of the pool's ledger this is.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub fn initial(&self) -> u32 {
        self.initial
    }

    pub fn available(&self) -> u32 {
        self.available
    }

    pub fn sold(&self) -> u32 {
        self.sold
    }

    /// Units of unsettled reservations.
    pub fn pending_units(&self) -> u32 {
        self.pending_units
    }

    /// Reservations without a verdict.
    pub fn unsettled(&self) -> u32 {
        u32::try_from(self.pending.len()).unwrap_or(u32::MAX)
    }

    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn gate(&self) -> Option<Gate> {
        self.gate
    }

    /// An unsettled reservation.
    pub fn pending(&self, order: OrderId) -> Option<&Reservation> {
        self.pending.get(&order).map(|entry| &entry.reservation)
    }

    /// An unsettled reservation that is not known to be in the log.
    pub fn unlogged_order(&self, order: OrderId) -> Option<Reservation> {
        self.pending.get(&order).filter(|entry| !entry.logged).map(|entry| entry.reservation.clone())
    }

    /// Unsettled reservations made before `unlogged_before` that are not known to be in the log, and those made before
    /// `logged_before` that are; oldest first.
    pub fn overdue(
        &self,
        unlogged_before: Timestamp,
        logged_before: Timestamp,
    ) -> impl Iterator<Item = &Reservation> {
        let is_overdue = move |entry: &&Pending| {
            let before = if entry.logged { logged_before } else { unlogged_before };
            entry.reservation.reserved_at < before
        };
        self.pending.values().filter(is_overdue).map(|entry| &entry.reservation)
    }

    /// The shopper's latest order in a promo's pool.
    pub fn last_order(&self, user: UserId) -> Option<LastOrder> {
        self.shoppers.get(&user)?.last
    }

    /// Whether the shopper's live orders leave room for another unit.
    pub fn may_order(&self, user: UserId) -> bool {
        self.per_user_limit.is_none_or(|limit| self.live_units(user) < limit)
    }

    /// Whose posted order this is, while it is neither paid nor given back.
    pub fn posted_by(&self, order: OrderId) -> Option<UserId> {
        self.posted.get(&order).map(|posted| posted.user_id)
    }

    fn live_units(&self, user: UserId) -> u32 {
        self.shoppers.get(&user).map_or(0, |shopper| shopper.live)
    }

    fn shopper(&mut self, user: UserId) -> Option<&mut Shopper> {
        self.per_user_limit?;
        Some(self.shoppers.entry(user).or_default())
    }

    fn give_back(&mut self, user: UserId, quantity: u32) {
        self.available += quantity;
        if let Some(shopper) = self.shopper(user) {
            shopper.live = shopper.live.saturating_sub(quantity);
        }
    }

    /// Records an order's status if it is still the shopper's latest.
    fn mark(&mut self, user: UserId, order: OrderId, status: OrderStatus, reason: Option<Reason>) {
        if let Some(shopper) = self.shopper(user)
            && let Some(last) = shopper.last.as_mut()
            && last.order_id == order
        {
            *last = LastOrder { status, reason, ..*last };
        }
    }
}

/// Whether the promo is over at `now`, by time or by an administrator.
pub fn is_over(gate: Gate, now: Timestamp) -> bool {
    gate.ended || now >= gate.ends_at
}

/// Which requests were answered with an order, for as long as a client may repeat one.
/// What outlives this memory is caught by the database's unique key.
#[derive(Debug)]
struct RequestMemory {
    memory_ms: u64,
    /// Whatever was answered before this instant is forgotten for good. Only grows, whoever's clock is behind.
    from: Option<Timestamp>,
    orders: HashMap<(UserId, RequestId), (OrderId, Timestamp)>,
    by_age: BTreeSet<(Timestamp, UserId, RequestId)>,
}

impl RequestMemory {
    fn new(memory_ms: u64) -> Self {
        Self { memory_ms, from: None, orders: HashMap::new(), by_age: BTreeSet::new() }
    }

    fn find(&self, user: UserId, request: RequestId) -> Option<OrderId> {
        self.orders.get(&(user, request)).map(|(order, _)| *order)
    }

    fn insert(&mut self, user: UserId, request: RequestId, order: OrderId, now: Timestamp) {
        if let Some((_, made)) = self.orders.insert((user, request), (order, now)) {
            self.by_age.remove(&(made, user, request));
        }
        self.by_age.insert((now, user, request));
    }

    fn forget_before(&mut self, now: Timestamp) {
        let from = self.from.max(Some(now.minus_millis(self.memory_ms)));
        self.from = from;
        while let Some(&(made, user, request)) = self.by_age.first()
            && Some(made) < from
        {
            self.by_age.pop_first();
            self.orders.remove(&(user, request));
        }
    }
}
