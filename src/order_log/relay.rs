//! The relay: whatever was reserved long ago and is not known to be in the log is appended again.
//!
//! It is what makes "reserved" lead to "logged" when an append failed or its caller died in between.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    reservation::port::{Reservation, Reservations},
};

use super::port::OrderLog;

/// How the relay works.
#[derive(Clone, Copy, Debug)]
pub struct RelaySettings {
    /// How often it looks.
    pub period: Duration,
    /// How old a reservation must be before it is appended again, in milliseconds.
    pub after_ms: u64,
    /// How old a reservation that is in the log may become before it is appended again, in milliseconds: the log may have
    /// lost it.
    pub logged_after_ms: u64,
    /// Reservations appended in one look, at most.
    pub batch_max: usize,
}

/// Runs until `stop`.
pub async fn run(
    reservations: Arc<dyn Reservations>,
    log: Arc<dyn OrderLog>,
    settings: RelaySettings,
    stop: CancellationToken,
) {
    while stop.run_until_cancelled(tokio::time::sleep(settings.period)).await.is_some() {
        let now = clock::now();
        let (unlogged, logged) =
            (now.minus_millis(settings.after_ms), now.minus_millis(settings.logged_after_ms));
        match reservations.overdue(unlogged, logged, settings.batch_max).await {
            Ok(overdue) => {
                // All at once, so that they share commits.
                join_all(overdue.iter().map(|held| relay(reservations.as_ref(), log.as_ref(), held))).await;
            }
            Err(error) => tracing::warn!(%error, "reservations to relay could not be read"),
        }
    }
}

/// Appends again. The order writer tells the shopper.
async fn relay(reservations: &dyn Reservations, log: &dyn OrderLog, held: &Reservation) {
    let Reservation { order_id, pool, .. } = *held;
    if let Err(error) = log.append(held).await {
        tracing::warn!(%order_id, %error, "a reservation could not be relayed to the log");
        return;
    }
    metrics::counter!("panicbuy_relayed_orders_total").increment(1);
    tracing::info!(%order_id, %pool, "a reservation was relayed to the log");
    if let Err(error) = reservations.logged(pool, &[order_id]).await {
        tracing::warn!(%order_id, %error, "a relayed reservation could not be marked as logged");
    }
}
