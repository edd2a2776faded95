//! Tells the ledger of orders that were paid, cancelled or expired, from the rows their transactions left behind.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    reservation::port::{Closed, EngineError, Reservations},
    store::port::{OrderStore, StoreError},
};

/// Closings applied in one look, at most.
const BATCH_MAX: u32 = 100;

/// The relay of closings and all it works on.
pub struct Closings {
    pub store: Arc<dyn OrderStore>,
    pub reservations: Arc<dyn Reservations>,
    /// Rung by whoever has just closed an order, so that the shopper need not wait for the next look.
    pub bell: Arc<Notify>,
    pub period: Duration,
}

impl Closings {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.apply().await {
                // A full batch means that more is waiting.
                Ok(applied) if applied == BATCH_MAX as usize => continue,
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "closings could not be applied; they are tried again"),
            }
            tokio::select! {
                () = self.bell.notified() => {}
                () = tokio::time::sleep(self.period) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Applies the oldest closings; returns how many of them are done with.
    async fn apply(&self) -> Result<usize, StoreError> {
        let mut done = Vec::new();
        for entry in self.store.outbox(BATCH_MAX).await? {
            match self.reservations.close(entry.pool, entry.order_id, entry.closing).await {
                Ok(Closed::NotSettled) => continue,
                // With a pool that is not ready: it is rebuilt from the database, which has this closing already.
                Ok(Closed::Before) | Err(EngineError::NotReady(_)) => {}
                Ok(Closed::Now) => {
                    let closing = entry.closing.status().as_str();
                    metrics::counter!("panicbuy_closed_orders_total", "status" => closing).increment(1);
                }
                Err(error) => {
                    tracing::warn!(%error, "the ledger does not hear of closings now");
                    break;
                }
            }
            done.push(entry.id);
        }
        if !done.is_empty() {
            self.store.outbox_done(&done).await?;
        }
        Ok(done.len())
    }
}
