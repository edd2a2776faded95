//! Lets time act on every live promo's waiting room, whether or not anybody asks.

use std::{sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    domain::{Phase, PromoId, Standing},
    results::port::{Event, Results},
};

use super::port::WaitingRooms;

/// Ticks the rooms that `live_rooms` names, every `period`, until `stop`.
///
/// Any number of processes may run this at once: what a tick does depends on the time, not on who ticks.
pub async fn run<F>(
    rooms: Arc<dyn WaitingRooms>,
    results: Arc<dyn Results>,
    live_rooms: impl Fn() -> F + Send,
    period: Duration,
    stop: CancellationToken,
) where
    F: Future<Output = Vec<PromoId>> + Send,
{
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        for promo in live_rooms().await {
            tick(rooms.as_ref(), results.as_ref(), promo).await;
        }
    }
}

async fn tick(rooms: &dyn WaitingRooms, results: &dyn Results, promo: PromoId) {
    match rooms.tick(promo, clock::now()).await {
        Ok(ticked) => {
            count(&ticked.changed);
            let events = if ticked.opened {
                tracing::info!(%promo, "the promo opened and its lobby was numbered");
                // Everybody is told where they stand, so who was admitted at once need not be told twice.
                vec![Event::RoomChanged(promo)]
            } else {
                ticked.changed.into_iter().map(Event::Standing).collect()
            };
            results.publish(events).await;
        }
        Err(error) => tracing::warn!(%promo, %error, "the waiting room could not tick"),
    }
}

fn count(changed: &[Standing]) {
    let admitted = changed.iter().filter(|standing| standing.phase == Phase::Admitted).count();
    metrics::counter!("panicbuy_passes_total", "event" => "given").increment(admitted as u64);
    metrics::counter!("panicbuy_passes_total", "event" => "lapsed")
        .increment((changed.len() - admitted) as u64);
}
