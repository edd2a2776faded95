//! Brings the news to this process's sockets: events to shoppers, broadcasts to watchers, presence to the waiting rooms.

use std::{collections::HashMap, sync::Arc, time::Duration};

use axum::extract::ws::Utf8Bytes;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    domain::{Phase, PromoId, Standing},
    results::port::{Event, Heard, Results},
    service::{
        order::OrderService,
        queue::{QueueError, QueueService, RoomNow},
    },
};

use super::{
    conversation::told,
    protocol::{QueueFrame, ServerFrame, StockFrame},
    registry::{News, Registry},
};

/// Overdue outcomes that are looked up at once, at most.
const OUTCOMES_AT_ONCE: usize = 200;

/// Shoppers asked about in one call, at most.
const CHUNK: usize = 500;

/// The hub and all it works on.
#[derive(Clone)]
pub struct Hub {
    pub registry: Arc<Registry>,
    pub queue: Arc<QueueService>,
    pub orders: Arc<OrderService>,
    /// How long an outcome may take before it is looked up.
    pub outcome_within: Duration,
    pub results: Arc<dyn Results>,
    /// How often broadcasts are looked at.
    pub broadcast_every: Duration,
    /// How often the waiting rooms hear who is here. Well below the grace time.
    pub presence_every: Duration,
}

impl Hub {
    /// Delivers events until `stop` or until the bus closes.
    pub async fn deliver(self, stop: CancellationToken) {
        let mut subscription = self.results.subscribe();
        while let Some(heard) = stop.run_until_cancelled(subscription.next()).await {
            match heard {
                Heard::Events(events) => {
                    for event in events.iter() {
                        self.deliver_event(event).await;
                    }
                }
                Heard::Missed => {
                    metrics::counter!("panicbuy_missed_events_total").increment(1);
                    tracing::warn!("news was missed; every shopper here is told anew where they stand");
                    for promo in self.queue.live().await.unwrap_or_default() {
                        self.tell_everybody(promo, stands).await;
                    }
                }
                Heard::Closed => return,
            }
        }
    }

    async fn deliver_event(&self, event: &Event) {
        // Asked of every outcome: it takes note of those that have come.
        if let Event::Outcome(outcome) = event
            && !self.orders.is_news(outcome)
        {
            return;
        }
        self.tell(event).await;
    }

    async fn tell(&self, event: &Event) {
        match event {
            Event::Standing(standing) if self.registry.is_here(standing.user_id) => {
                let frame = ServerFrame::State(standing.clone().into());
                self.registry.push(standing.user_id, &text(&frame));
            }
            Event::Outcome(outcome) if self.registry.is_here(outcome.user_id) => {
                let frame = ServerFrame::Outcome(outcome.into());
                self.registry.push(outcome.user_id, &text(&frame));
            }
            Event::Accepted { user_id, request_id, order_id } => {
                let frame = ServerFrame::Accepted { request_id: *request_id, order_id: *order_id };
                self.registry.push(*user_id, &text(&frame));
            }
            Event::RoomChanged(promo) => self.tell_everybody(*promo, stands).await,
            Event::RoomRebuilt(promo) => self.tell_everybody(*promo, |_| true).await,
            Event::Standing(_) | Event::Outcome(_) => {}
        }
    }

    /// Tells the outcomes whose news was lost, until `stop`.
    pub async fn look_up_outcomes(self, stop: CancellationToken) {
        let within_ms = u64::try_from(self.outcome_within.as_millis()).unwrap_or(u64::MAX);
        while stop.run_until_cancelled(tokio::time::sleep(self.outcome_within / 3)).await.is_some() {
            let before = clock::now().minus_millis(within_ms);
            let here = |user| self.registry.is_here(user);
            match self.orders.overdue_outcomes(before, OUTCOMES_AT_ONCE, here).await {
                Ok(events) => {
                    for event in &events {
                        self.tell(event).await;
                    }
                }
                Err(error) => tracing::warn!(%error, "overdue outcomes could not be looked up"),
            }
        }
    }

    /// Tells every shopper here where they stand in the promo, if it is to be `told`.
    async fn tell_everybody(&self, promo: PromoId, told: impl Fn(&Standing) -> bool + Send + Sync) {
        for chunk in self.registry.shoppers().chunks(CHUNK) {
            match self.queue.standings(promo, chunk).await {
                Ok(standings) => {
                    for standing in standings.into_iter().filter(|standing| told(standing)) {
                        let user = standing.user_id;
                        self.registry.push(user, &text(&ServerFrame::State(standing.into())));
                    }
                }
                Err(error) => tracing::warn!(%promo, %error, "shoppers could not be told where they stand"),
            }
            // Other tasks get their turn between two chunks of a large room.
            tokio::task::yield_now().await;
        }
    }

    /// Sends `queue` and `stock` frames to watchers whenever they say something new, until `stop`.
    pub async fn broadcast(self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(self.broadcast_every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut said: HashMap<PromoId, (QueueFrame, StockFrame)> = HashMap::new();
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            let watched = self.registry.watched();
            said.retain(|promo, _| watched.contains(promo));
            for promo in watched {
                match self.queue.look(promo).await {
                    Ok(now) => self.broadcast_news(promo, &now, &mut said),
                    Err(QueueError::NotFound) => {}
                    Err(error) => tracing::warn!(%promo, %error, "a waiting room could not be looked at"),
                }
            }
        }
    }

    fn broadcast_news(
        &self,
        promo: PromoId,
        now: &RoomNow,
        said: &mut HashMap<PromoId, (QueueFrame, StockFrame)>,
    ) {
        metrics::gauge!("panicbuy_waiting_shoppers", "promo" => promo.to_string())
            .set(whole(now.view.waiting));
        metrics::gauge!("panicbuy_active_passes", "promo" => promo.to_string()).set(whole(now.view.active));
        let (queue, stock) = (QueueFrame::from(now), StockFrame::from(now));
        let before = said.get(&promo);
        let news = News {
            queue: before.is_none_or(|(before, _)| *before != queue),
            stock: before.is_none_or(|(_, before)| before.available != stock.available),
        };
        if news.queue || news.stock {
            self.registry.broadcast(promo, told(now), news);
        }
        said.insert(promo, (queue, stock));
    }

    /// Tells the waiting rooms who is here, until `stop`. Any socket of a shopper keeps all of their places.
    pub async fn report_presence(self, stop: CancellationToken) {
        let mut interval = tokio::time::interval(self.presence_every);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            let users = self.registry.shoppers();
            let live = self.queue.live().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "presence could not be reported");
                Vec::new()
            });
            for promo in live {
                for chunk in users.chunks(CHUNK) {
                    if let Err(error) = self.queue.seen(promo, chunk).await {
                        tracing::warn!(%promo, %error, "presence could not be reported");
                    }
                }
            }
        }
    }
}

/// Whether the shopper has anything to do with the promo.
fn stands(standing: &Standing) -> bool {
    standing.phase != Phase::None || standing.order_id.is_some()
}

fn text(frame: &ServerFrame) -> Utf8Bytes {
    frame.to_text().into()
}

#[expect(clippy::cast_precision_loss, reason = "a gauge takes doubles")]
fn whole(count: u64) -> f64 {
    count as f64
}
