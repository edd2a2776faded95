//! Lets time act on every live promo's waiting room, whether or not anybody asks.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    domain::{Phase, PromoId, Standing},
    reservation::port::EngineError,
};

use super::port::{LogState, WaitingRooms};

/// Ticks of one room in a row, at most; the others get their turn then.
const MAX_TICKS_IN_A_ROW: u32 = 100;

/// Ticks the rooms that `live_rooms` names, every `period`, until `stop`. `log` says what the order log lets admission do.
///
/// Any number of processes may run this at once: what a tick does depends on the time, not on who ticks.
pub async fn run<F>(
    rooms: Arc<dyn WaitingRooms>,
    live_rooms: impl Fn() -> F + Send,
    log: impl Fn() -> LogState + Send + Sync,
    period: Duration,
    stop: CancellationToken,
) where
    F: Future<Output = Vec<PromoId>> + Send,
{
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Rooms that were live a moment ago stay: a large one is sent home in many ticks, and is not live any more by then.
    let mut at_work = BTreeSet::new();
    while stop.run_until_cancelled(interval.tick()).await.is_some() {
        let live: BTreeSet<PromoId> = live_rooms().await.into_iter().collect();
        for promo in live.union(&std::mem::take(&mut at_work)).copied() {
            let ticked = tick(rooms.as_ref(), promo, &log).await;
            if let Err(error) = &ticked {
                tracing::warn!(%promo, %error, "the waiting room could not tick");
            }
            let is_gone = matches!(ticked, Err(EngineError::NotReady(_)));
            let is_at_rest = matches!(ticked, Ok(More::Nothing));
            if live.contains(&promo) || !(is_gone || is_at_rest) {
                at_work.insert(promo);
            }
        }
    }
}

/// Whether there was more to do than may be done in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    Nothing,
    Perhaps,
}

/// Lets time act on the room until there is nothing more to do for now, or others should have their turn.
pub async fn tick(
    rooms: &dyn WaitingRooms,
    promo: PromoId,
    log: impl Fn() -> LogState,
) -> Result<More, EngineError> {
    for _ in 0..MAX_TICKS_IN_A_ROW {
        let ticked = rooms.tick(promo, clock::now(), log()).await?;
        count(&ticked.changed);
        if ticked.opened {
            tracing::info!(%promo, "the promo opened and its lobby was numbered");
        }
        if !ticked.more {
            return Ok(More::Nothing);
        }
    }
    Ok(More::Perhaps)
}

fn count(changed: &[Standing]) {
    let admitted = changed.iter().filter(|standing| standing.phase == Phase::Admitted).count();
    metrics::counter!("panicbuy_passes_total", "event" => "given").increment(admitted as u64);
    metrics::counter!("panicbuy_passes_total", "event" => "lapsed")
        .increment((changed.len() - admitted) as u64);
}
