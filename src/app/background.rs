//! Everything that goes on whether or not anybody asks.

use std::{sync::Arc, time::Duration};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{sync::Notify, task::JoinSet};

use super::{
    Services,
    engines::{Engines, Keeper},
    limits,
    parts::Parts,
};
use crate::{
    admission::{brake::Brake, ticker},
    clock,
    config::Settings,
    gateway::{hub::Hub, registry::Registry, upgrade::Door},
    lifecycle::Stop,
    order_log::relay,
    order_writer::{closings::Closings, payment_window},
    recovery,
};

/// How often limiters forget who has been quiet, and metrics are tidied.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// How often the times of promos are looked at.
const PROMO_CLOCK: Duration = Duration::from_millis(200);

/// How often it is noted which servers answer.
const PARTS_EVERY: Duration = Duration::from_secs(2);

/// How often closings are looked for that nobody has rung for.
const CLOSINGS_EVERY: Duration = Duration::from_millis(500);

/// Starts background work.
pub(super) struct Background<'a> {
    pub tasks: &'a mut JoinSet<()>,
    pub settings: &'a Settings,
    pub engines: &'a Engines,
    pub services: &'a Services,
    pub stop: &'a Stop,
}

impl Background<'_> {
    /// What every process does: watch over ledgers and servers, tell the ledger of closings (who pays is served by any
    /// gateway, and is to see it at once), and the upkeep of its engines.
    pub(super) fn for_everybody(&mut self, parts: Parts, keeper: &Keeper, closings_bell: &Arc<Notify>) {
        let Engines { store, log, reservations, rooms, .. } = self.engines.clone();
        self.tasks.spawn(parts.watch(PARTS_EVERY, self.stop.work.clone()));
        let closings = Closings {
            store: store.clone(),
            reservations: Arc::clone(&reservations),
            bell: Arc::clone(closings_bell),
            period: CLOSINGS_EVERY,
        };
        self.tasks.spawn(closings.run(self.stop.work.clone()));
        let ledgers = recovery::keeper::Keeper {
            store,
            log,
            reservations,
            rooms,
            settings: limits::keeper_settings(self.settings),
            bell: keeper.lost_bell(),
        };
        self.tasks.spawn(ledgers.run(self.stop.work.clone()));
        if let Keeper::Embedded(embedded) = keeper {
            let every = Duration::from_millis(self.settings.admission.room_save_ms);
            self.tasks.spawn(embedded.save_rooms(every, self.stop.work.clone()));
        }
    }

    /// News for sockets, the waiting rooms' ticks, and what brakes them.
    pub(super) fn for_gateways(
        &mut self,
        registry: Arc<Registry>,
        door: &Arc<Door>,
        metrics: &PrometheusHandle,
    ) {
        let Engines { log, rooms, results, .. } = self.engines.clone();
        let hub = Hub {
            registry,
            queue: Arc::clone(&self.services.queue),
            orders: Arc::clone(&self.services.orders),
            outcome_within: Duration::from_millis(self.settings.orders.outcome_overdue_ms),
            results,
            broadcast_every: Duration::from_millis(self.settings.sockets.broadcast_interval_ms),
            presence_every: Duration::from_millis(self.settings.admission.presence_interval_ms),
        };
        self.tasks.spawn(hub.clone().deliver(self.stop.work.clone()));
        self.tasks.spawn(hub.clone().broadcast(self.stop.work.clone()));
        self.tasks.spawn(hub.clone().look_up_outcomes(self.stop.work.clone()));
        self.tasks.spawn(hub.report_presence(self.stop.work.clone()));

        let queue = Arc::clone(&self.services.queue);
        let live_rooms = move || {
            let queue = Arc::clone(&queue);
            async move {
                queue.live().await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "the live promos could not be read");
                    Vec::new()
                })
            }
        };
        let brake = Arc::new(Brake::new(log, self.settings.admission.max_log_lag));
        self.tasks.spawn(Arc::clone(&brake).watch(self.stop.work.clone()));
        let log_state = move || brake.state();
        let tick = Duration::from_millis(self.settings.admission.tick_ms);
        self.tasks.spawn(ticker::run(rooms, live_rooms, log_state, tick, self.stop.work.clone()));
        self.tasks.spawn(self.tidy(door, metrics));
    }

    /// What follows from orders and from the time: the relay, the payment window and the promos' clock.
    pub(super) fn for_writers(&mut self, closings_bell: &Arc<Notify>) {
        let Engines { store, log, reservations, .. } = self.engines.clone();
        let promos = Arc::clone(&self.services.promos);
        let stop_promos = self.stop.work.clone();
        self.tasks.spawn(async move {
            while stop_promos.run_until_cancelled(tokio::time::sleep(PROMO_CLOCK)).await.is_some() {
                promos.act_on_time(clock::now()).await;
            }
        });
        let relay_settings = limits::relay_settings(self.settings);
        self.tasks.spawn(relay::run(reservations, log, relay_settings, self.stop.work.clone()));
        let every = Duration::from_millis(self.settings.orders.expiry_interval_ms);
        let bell = Arc::clone(closings_bell);
        self.tasks.spawn(payment_window::run(store, bell, every, self.stop.work.clone()));
    }

    fn tidy(&self, door: &Arc<Door>, metrics: &PrometheusHandle) -> impl Future<Output = ()> + use<> {
        let stop = self.stop.work.clone();
        let (door, metrics) = (Arc::clone(door), metrics.clone());
        let (orders, users) = (Arc::clone(&self.services.orders), Arc::clone(&self.services.users));
        async move {
            while stop.run_until_cancelled(tokio::time::sleep(TIDY_EVERY)).await.is_some() {
                users.tidy();
                orders.forget_quiet_shoppers();
                door.forget_quiet_addresses();
                metrics.run_upkeep();
            }
        }
    }
}
