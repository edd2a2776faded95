//! Lets time act on every live promo's waiting room, whether or not anybody asks.

use std::{sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    domain::{Phase, PromoId, Standing},
    reservation::port::EngineError,
};

use super::port::WaitingRooms;

/// Ticks of one room in a row, at most; the others get their turn then.
const MAX_TICKS_IN_A_ROW: u32 = 100;

/// Ticks the rooms that `live_rooms` names, every `period`, until `stop`.
///
/// Any number of processes may run this at once: what a tick does depends on the time, not on who ticks.
pub async fn run<F>(
    rooms: Arc<dyn WaitingRooms>,
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
            if let Err(error) = tick(rooms.as_ref(), promo).await {
                tracing::warn!(%promo, %error, "the waiting room could not tick");
            }
        }
    }
}

/// Lets time act on the room until there is nothing more to do for now.
pub async fn tick(rooms: &dyn WaitingRooms, promo: PromoId) -> Result<(), EngineError> {
    for _ in 0..MAX_TICKS_IN_A_ROW {
        let ticked = rooms.tick(promo, clock::now()).await?;
        count(&ticked.changed);
        if ticked.opened {
            tracing::info!(%promo, "the promo opened and its lobby was numbered");
        }
        if !ticked.more {
            break;
        }
    }
    Ok(())
}

fn count(changed: &[Standing]) {
    let admitted = changed.iter().filter(|standing| standing.phase == Phase::Admitted).count();
    metrics::counter!("panicbuy_passes_total", "event" => "given").increment(admitted as u64);
    metrics::counter!("panicbuy_passes_total", "event" => "lapsed")
        .increment((changed.len() - admitted) as u64);
}
