//! Accepted orders whose outcome this process has yet to hear.
//!
//! Outcomes come as news, and news may be lost with the server that carries it. What is overdue is looked up in the database,
//! so that an accepted order is answered in any case, and only once.

use std::time::Duration;

use dashmap::DashMap;
use moka::sync::Cache;

use super::OrderService;
use crate::{
    domain::{Order, OrderId, OrderStatus, RequestId, Timestamp, UserId},
    reservation::port::Reservation,
    results::port::{Event, Outcome},
    store::port::StoreError,
};

/// Outcomes that were looked up are remembered so long, in case the news comes after all.
const TOLD_FOR: Duration = Duration::from_mins(10);

/// The accepted orders of this process that have no outcome yet.
#[derive(Debug)]
pub(super) struct Awaited {
    max: usize,
    orders: DashMap<OrderId, Awaiting>,
    told: Cache<OrderId, ()>,
}

#[derive(Clone, Copy, Debug)]
struct Awaiting {
    user_id: UserId,
    request_id: RequestId,
    since: Timestamp,
    /// The shopper has heard "accepted".
    answered: bool,
}

impl Awaited {
    /// `max`: orders that are watched at once. The outcomes of more than that are told as news alone.
    pub(super) fn new(max: usize) -> Self {
        let told = Cache::builder().max_capacity(max as u64).time_to_live(TOLD_FOR).build();
        Self { max, orders: DashMap::new(), told }
    }

    /// An outcome of this order will come. To be called before it can.
    pub(super) fn expect(&self, order: &Reservation) {
        if self.orders.len() < self.max {
            let Reservation { user_id, request_id, reserved_at: since, .. } = *order;
            self.orders.insert(order.order_id, Awaiting { user_id, request_id, since, answered: false });
        }
    }

    /// The shopper has heard "accepted".
    pub(super) fn answered(&self, order: OrderId) {
        if let Some(mut awaiting) = self.orders.get_mut(&order) {
            awaiting.answered = true;
        }
    }
}

impl OrderService {
    /// Takes note of an outcome. `false`: it was looked up and told before it came.
    pub fn is_news(&self, outcome: &Outcome) -> bool {
        self.awaited.orders.remove(&outcome.order_id);
        !self.awaited.told.contains_key(&outcome.order_id)
    }

    /// Looks up outcomes of orders accepted before `before` that have not come as news, at most `limit`. Orders of
    /// shoppers that are not `here` any more are let go: who comes back is told where they stand.
    pub async fn overdue_outcomes(
        &self,
        before: Timestamp,
        limit: usize,
        here: impl Fn(UserId) -> bool,
    ) -> Result<Vec<Event>, StoreError> {
        self.awaited.orders.retain(|_, awaiting| awaiting.since >= before || here(awaiting.user_id));
        let overdue = self.awaited.orders.iter().filter(|entry| entry.since < before);
        let overdue: Vec<_> = overdue.take(limit).map(|entry| (*entry.key(), *entry.value())).collect();
        let mut events = Vec::new();
        for (id, awaiting) in overdue {
            let Some(order) = self.store.order(awaiting.user_id, id).await? else { continue };
            // Whoever takes it out tells it.
            if self.awaited.orders.remove(&id).is_none() {
                continue;
            }
            self.awaited.told.insert(id, ());
            metrics::counter!("panicbuy_looked_up_outcomes_total").increment(1);
            let Awaiting { user_id, request_id, answered, .. } = awaiting;
            events.extend((!answered).then_some(Event::Accepted { user_id, request_id, order_id: id }));
            events.push(Event::Outcome(outcome(&order)));
        }
        Ok(events)
    }
}

/// The outcome that the order had, whatever became of it since.
fn outcome(order: &Order) -> Outcome {
    let rejected = order.status == OrderStatus::Rejected;
    Outcome {
        user_id: order.user_id,
        order_id: order.id,
        promo_id: order.promo_id,
        status: if rejected { OrderStatus::Rejected } else { OrderStatus::AwaitingPayment },
        price: (!rejected).then_some(order.price),
        pay_before: order.pay_before.filter(|_| !rejected),
        reason: order.reason,
    }
}
