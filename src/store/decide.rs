//! The order writer's decision: what becomes of a batch of reservations, given what the database knows.
//!
//! Pure. The engine reads [`Known`] under the row locks of the batch's pools, asks [`decide`], and writes the [`Plan`]
//! before it lets the locks go.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::port::Written;
use crate::{
    domain::{Epoch, ItemId, OrderId, OrderStatus, PoolId, Reason, RequestId, Timestamp, UserId, Verdict},
    reservation::port::Reservation,
};

/// A pool as it stands under its lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shelf {
    /// The item whose units these are.
    pub item: ItemId,
    pub unsold: u32,
    /// Units one shopper may hold in live orders; `None`: as many as there are.
    pub per_user_limit: Option<u32>,
    /// The building of the pool's ledger that may sell from it.
    pub epoch: Epoch,
}

/// Everything the database knows that matters to a batch.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub pools: HashMap<PoolId, Shelf>,
    pub users: HashSet<UserId>,
    /// Orders of the batch that are there already, with the verdict they got.
    pub orders: HashMap<OrderId, Verdict>,
    /// Which order a shopper's request became.
    pub requests: HashMap<(UserId, RequestId), OrderId>,
    /// Units in live orders, of pools that limit them.
    pub held: HashMap<(PoolId, UserId), u64>,
}

impl Known {
    /// Notes an order that is in the database.
    pub(super) fn note(&mut self, id: OrderId, request: (UserId, RequestId), verdict: Verdict) {
        self.orders.insert(id, verdict);
        self.requests.insert(request, id);
    }
}

/// What to write, and what to answer.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// One answer to each reservation, in the batch's order.
    pub answers: Vec<Written>,
    /// The orders to insert: the posted and the rejected.
    pub orders: Vec<NewOrder<'a>>,
    /// The units each pool sells by this batch, in the order of the pools.
    pub sold: BTreeMap<PoolId, u32>,
}

/// An order that is not in the database yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewOrder<'a> {
    pub reservation: &'a Reservation,
    pub verdict: Verdict,
}

impl NewOrder<'_> {
    /// The status it is inserted with.
    pub(super) fn status(&self) -> OrderStatus {
        match self.verdict {
            Verdict::Posted { .. } => OrderStatus::AwaitingPayment,
            Verdict::Void { .. } => OrderStatus::Rejected,
        }
    }
}

/// Decides a batch in its order; each decision knows those before it.
pub(super) fn decide(batch: &[Reservation], mut known: Known, now: Timestamp) -> Plan<'_> {
    let mut plan = Plan::default();
    for reservation in batch {
        let answer = match judge(reservation, &known, now) {
            Judgement::Before(verdict) => Written::Verdict(verdict),
            Judgement::Impossible(why) => Written::Impossible(why),
            Judgement::New(verdict) => {
                record(reservation, verdict, &mut known, &mut plan);
                Written::Verdict(verdict)
            }
        };
        plan.answers.push(answer);
    }
    plan
}

/// What one reservation comes to.
enum Judgement {
    /// It was written before, with this verdict.
    Before(Verdict),
    New(Verdict),
    Impossible(&'static str),
}

fn judge(reservation: &Reservation, known: &Known, now: Timestamp) -> Judgement {
    if let Some(verdict) = known.orders.get(&reservation.order_id) {
        return Judgement::Before(*verdict);
    }
    // The order itself is not there, so whoever holds the request is another one.
    if known.requests.contains_key(&(reservation.user_id, reservation.request_id)) {
        return Judgement::Impossible("request_id already used by another order");
    }
    if reservation.quantity == 0 {
        return Judgement::Impossible("the quantity is zero");
    }
    if !known.users.contains(&reservation.user_id) {
        return Judgement::Impossible("unknown user");
    }
    let Some(shelf) = known.pools.get(&reservation.pool) else {
        return Judgement::Impossible("unknown pool");
    };
    if shelf.item != reservation.item_id {
        return Judgement::Impossible("unknown item: the pool holds another");
    }
    Judgement::New(verdict(reservation, shelf, known, now))
}

fn verdict(reservation: &Reservation, shelf: &Shelf, known: &Known, now: Timestamp) -> Verdict {
    let held = known.held.get(&(reservation.pool, reservation.user_id)).copied().unwrap_or(0);
    let wanted = held.saturating_add(u64::from(reservation.quantity));
    if reservation.epoch < shelf.epoch {
        // The ledger that held its units is lost, and the one that was built in its place counts them as unsold,
        // because it did not find this order among those it was built from.
        Verdict::Void { reason: Reason::NotReady }
    } else if shelf.per_user_limit.is_some_and(|limit| wanted > u64::from(limit)) {
        Verdict::Void { reason: Reason::LimitReached }
    } else if reservation.quantity > shelf.unsold {
        Verdict::Void { reason: Reason::SoldOut }
    } else {
        Verdict::Posted { pay_before: now.plus_millis(reservation.payment_window_ms) }
    }
}

/// Lets the rest of the batch know of a new order, and plans its row.
fn record<'a>(reservation: &'a Reservation, verdict: Verdict, known: &mut Known, plan: &mut Plan<'a>) {
    let Reservation { order_id, user_id, request_id, pool, quantity, .. } = *reservation;
    known.note(order_id, (user_id, request_id), verdict);
    plan.orders.push(NewOrder { reservation, verdict });
    if let Verdict::Void { .. } = verdict {
        return;
    }
    if let Some(shelf) = known.pools.get_mut(&pool) {
        shelf.unsold -= quantity;
    }
    *known.held.entry((pool, user_id)).or_default() += u64::from(quantity);
    *plan.sold.entry(pool).or_default() += quantity;
}

#[cfg(test)]
mod tests;
