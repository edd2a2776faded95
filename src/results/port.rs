//! The news, and the bus that carries it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    domain::{OrderId, OrderStatus, Price, PromoId, Reason, RequestId, Standing, Timestamp, UserId, Verdict},
    reservation::port::Settled,
};

/// One piece of news for the sockets of one shopper, or of everybody in one room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The shopper stands differently now: a `state` frame.
    Standing(Standing),
    /// The one terminal outcome of an accepted order: an `outcome` frame.
    Outcome(Outcome),
    /// An order whose answer was held back is durable now: an `accepted` frame.
    Accepted { user_id: UserId, request_id: RequestId, order_id: OrderId },
    /// Everybody in the room stands differently now (it opened, it ended): read each standing again.
    RoomChanged(PromoId),
    /// The room was lost and is built anew: who had a place may have none now, and is told so.
    RoomRebuilt(PromoId),
}

/// The writer's verdict as the shopper hears it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub user_id: UserId,
    pub order_id: OrderId,
    pub promo_id: Option<PromoId>,
    /// `AwaitingPayment` or `Rejected`.
    pub status: OrderStatus,
    /// Of one unit; with `AwaitingPayment`.
    pub price: Option<Price>,
    pub pay_before: Option<Timestamp>,
    pub reason: Option<Reason>,
}

impl Outcome {
    /// The outcome of a reservation that has just been settled.
    pub fn of(settled: &Settled) -> Self {
        let Settled { reservation, verdict, .. } = settled;
        let (status, price, pay_before, reason) = match *verdict {
            Verdict::Posted { pay_before } => {
                (OrderStatus::AwaitingPayment, Some(reservation.price), Some(pay_before), None)
            }
            Verdict::Void { reason } => (OrderStatus::Rejected, None, None, Some(reason)),
        };
        Self {
            user_id: reservation.user_id,
            order_id: reservation.order_id,
            promo_id: reservation.pool.promo(),
            status,
            price,
            pay_before,
            reason,
        }
    }
}

/// What a subscriber hears next.
#[derive(Clone, Debug)]
pub enum Heard {
    Events(Arc<[Event]>),
    /// Some events were missed: read the state of every connected shopper again.
    Missed,
    /// The bus is closed; nothing more will come.
    Closed,
}

/// One subscriber's end of the bus.
#[async_trait]
pub trait Subscription: Send {
    async fn next(&mut self) -> Heard;
}

/// The bus. What is on it was put there by the engine that made the change, in the same step as the change, so that no
/// news is lost with whoever asked for it.
pub trait Results: Send + Sync {
    fn subscribe(&self) -> Box<dyn Subscription>;
}
