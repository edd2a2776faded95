//! Everything that goes on whether or not anybody asks.

use std::{path::PathBuf, sync::Arc, time::Duration};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{Engines, Services, limits};
use crate::{
    admission::{saved::SavedRooms, ticker},
    clock,
    config::Settings,
    gateway::{hub::Hub, registry::Registry, upgrade::Door},
    lifecycle::Stop,
    order_log::relay,
    order_writer::{closings::Closings, payment_window},
    reservation::memory::MemoryEngine,
};

/// How often limiters forget who has been quiet, and metrics are tidied.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// How often the times of promos are looked at.
const PROMO_CLOCK: Duration = Duration::from_millis(200);

/// Saving waiting rooms takes at most one part of the time in so many.
const SAVING_SHARE: u32 = 20;

/// Starts the hub, the ticks, the promo clock, the relay, the payment window and the closings.
pub(super) fn spawn(
    tasks: &mut JoinSet<()>,
    settings: &Settings,
    engines: &Engines,
    services: &Services,
    registry: Arc<Registry>,
    closings_bell: &Arc<Notify>,
    stop: &Stop,
) {
    let Engines { store, log, reservations, rooms, results } = engines.clone();
    let hub = Hub {
        registry,
        queue: Arc::clone(&services.queue),
        results: Arc::clone(&results),
        broadcast_every: Duration::from_millis(settings.sockets.broadcast_interval_ms),
        presence_every: Duration::from_millis(settings.admission.presence_interval_ms),
    };
    tasks.spawn(hub.clone().deliver(stop.work.clone()));
    tasks.spawn(hub.clone().broadcast(stop.work.clone()));
    tasks.spawn(hub.report_presence(stop.work.clone()));

    let queue = Arc::clone(&services.queue);
    let live_rooms = move || {
        let queue = Arc::clone(&queue);
        async move {
            queue.live().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the live promos could not be read");
                Vec::new()
            })
        }
    };
    let tick = Duration::from_millis(settings.admission.tick_ms);
    tasks.spawn(ticker::run(Arc::clone(&rooms), Arc::clone(&results), live_rooms, tick, stop.work.clone()));

    let promos = Arc::clone(&services.promos);
    let stop_promos = stop.work.clone();
    tasks.spawn(async move {
        while stop_promos.run_until_cancelled(tokio::time::sleep(PROMO_CLOCK)).await.is_some() {
            promos.act_on_time(clock::now()).await;
        }
    });

    let relay_settings = limits::relay_settings(settings);
    tasks.spawn(relay::run(Arc::clone(&reservations), log, relay_settings, stop.work.clone()));
    let every = Duration::from_millis(settings.orders.expiry_interval_ms);
    let bell = Arc::clone(closings_bell);
    tasks.spawn(payment_window::run(store.clone(), Arc::clone(&bell), every, stop.work.clone()));
    let closings = Closings { store, reservations, rooms, results, bell, period: Duration::from_millis(500) };
    tasks.spawn(closings.run(stop.work.clone()));
}

pub(super) fn spawn_tidying(
    tasks: &mut JoinSet<()>,
    services: &Services,
    door: &Arc<Door>,
    metrics: &PrometheusHandle,
    stop: &Stop,
) {
    let stop = stop.work.clone();
    let (door, metrics) = (Arc::clone(door), metrics.clone());
    let (orders, users) = (Arc::clone(&services.orders), Arc::clone(&services.users));
    tasks.spawn(async move {
        while stop.run_until_cancelled(tokio::time::sleep(TIDY_EVERY)).await.is_some() {
            users.tidy();
            orders.forget_quiet_shoppers();
            door.forget_quiet_addresses();
            metrics.run_upkeep();
        }
    });
}

/// Saves the waiting rooms whenever they have changed, and once more at the end. Large rooms take longer to save and are
/// saved less often, so that it never takes more than a small share of the time.
pub(super) async fn save_rooms(
    memory: Arc<MemoryEngine>,
    file: PathBuf,
    every: Duration,
    stop: CancellationToken,
) {
    let mut saved = 0;
    let mut going_on = true;
    let mut took = Duration::ZERO;
    while going_on {
        let pause = every.max(took * SAVING_SHARE);
        going_on = stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some();
        let started = Instant::now();
        let (changes, rooms) = memory.rooms_if_changed(saved);
        let Some(rooms) = rooms else { continue };
        let file = file.clone();
        let writing = tokio::task::spawn_blocking(move || SavedRooms::new(rooms).write(&file));
        match writing.await.map_err(std::io::Error::other).flatten() {
            Ok(()) => saved = changes,
            Err(error) => tracing::warn!(%error, "the waiting rooms could not be saved"),
        }
        took = started.elapsed();
    }
}
