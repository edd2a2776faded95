//! What becomes of an order after it was accepted: looked at, paid, cancelled.

use super::OrderService;
use crate::{
    clock,
    domain::{Order, OrderId, OrderStatus, UserId},
    reservation::port::{EngineError, Reservation},
    store::port::{CloseError, StoreError},
};

/// An order could not be paid, cancelled or read.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error(transparent)]
    Close(#[from] CloseError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl OrderService {
    /// The shopper's order, also while its outcome is still to come.
    pub async fn get(&self, user: UserId, id: OrderId) -> Result<Option<Order>, OrderError> {
        // The ledger first: an order leaves it only after it is in the database.
        let pending = self.reservations.pending(user, id).await?;
        Ok(self.store.order(user, id).await?.or(pending.as_ref().map(pending_order)))
    }

    /// The shopper's orders before `before`, newest first, at most `limit`.
    pub async fn list(
        &self,
        user: UserId,
        before: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<Order>, OrderError> {
        let pending = self.reservations.pending_of(user).await?;
        let mut orders = self.store.orders(user, before, limit).await?;
        let written: Vec<OrderId> = orders.iter().map(|order| order.id).collect();
        let asked_for = |order: &Order| before.is_none_or(|before| order.id < before);
        let unwritten = pending.iter().map(pending_order);
        orders.extend(unwritten.filter(|order| asked_for(order) && !written.contains(&order.id)));
        orders.sort_unstable_by_key(|order| std::cmp::Reverse(order.id));
        orders.truncate(limit as usize);
        Ok(orders)
    }

    /// Pays a posted order inside its window. Paid already: the same answer.
    pub async fn pay(&self, user: UserId, id: OrderId) -> Result<Order, OrderError> {
        let paid = self.store.pay(user, id, clock::now()).await;
        self.closed(user, id, paid).await
    }

    /// Cancels a posted order that is not paid, and gives its units back. Cancelled already: the same answer.
    pub async fn cancel(&self, user: UserId, id: OrderId) -> Result<Order, OrderError> {
        let cancelled = self.store.cancel(user, id).await;
        self.closed(user, id, cancelled).await
    }

    async fn closed(
        &self,
        user: UserId,
        id: OrderId,
        closed: Result<Order, CloseError>,
    ) -> Result<Order, OrderError> {
        match closed {
            Ok(order) => {
                self.closings_bell.notify_one();
                Ok(order)
            }
            Err(CloseError::NotFound) if self.reservations.pending(user, id).await?.is_some() => {
                Err(CloseError::WrongStatus(OrderStatus::Pending).into())
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn pending_order(reservation: &Reservation) -> Order {
    Order {
        id: reservation.order_id,
        request_id: reservation.request_id,
        user_id: reservation.user_id,
        item_id: reservation.item_id,
        promo_id: reservation.pool.promo(),
        quantity: reservation.quantity,
        price: reservation.price,
        status: OrderStatus::Pending,
        reason: None,
        created_at: reservation.reserved_at,
        pay_before: None,
        paid_at: None,
    }
}
