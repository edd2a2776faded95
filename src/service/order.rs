//! Orders: the product's one way through, from a shopper's request to the answer "accepted".
//!
//! Who has read [`OrderService::place`] knows the system. The outcome comes later, from the order writer, over
//! [`crate::results`]; what becomes of an order after that is in [`later`].

mod awaited;
pub mod later;

use std::{
    num::NonZeroU32,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use fail::fail_point;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock as _};
use moka::sync::Cache;
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::task::TaskTracker;

use crate::{
    clock,
    domain::{Epoch, ItemId, OrderId, PoolId, Price, PromoId, PromoStatus, Reason, RequestId, UserId},
    order_log::port::OrderLog,
    random,
    reservation::port::{EngineError, Repeat, Reservation, Reservations, Reserved},
    store::port::OrderStore,
};

use self::awaited::Awaited;
use super::catalog::{Catalog, CatalogError};

/// What an order is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Promo(PromoId),
    /// At the list price, or at the promo's while the item has an ongoing one.
    Item(ItemId),
}

/// A shopper's wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    pub user_id: UserId,
    pub request_id: RequestId,
    pub target: Target,
    pub quantity: u32,
}

/// The answer to a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// Durable: an outcome follows, or has come already.
    Accepted(OrderId),
    /// The same, as the answer to a repeated request. Who repeats one may have missed its outcome too: `promo_id` names
    /// where to look.
    AcceptedBefore { order_id: OrderId, promo_id: Option<PromoId> },
    /// Nothing was taken.
    Refused { reason: Reason, retry_after_ms: Option<u64> },
    /// The units are held but the log has not confirmed in time. The answer follows by itself, and a repeated
    /// request gets it too.
    Unconfirmed,
}

/// A [`Placed`] to come. Whoever stops waiting for it does not stop the order.
pub struct Placing(JoinHandle<Placed>);

impl Future for Placing {
    type Output = Placed;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Placed> {
        // A join error means that the task panicked, which has been logged. It may hold units, so nothing is claimed.
        Pin::new(&mut self.0).poll(context).map(|placed| placed.unwrap_or(Placed::Unconfirmed))
    }
}

impl Placed {
    fn refused(reason: Reason) -> Self {
        let retry_after_ms = reason.is_temporary().then_some(RETRY_AFTER_MS);
        Self::Refused { reason, retry_after_ms }
    }
}

/// What a client is told to wait after a temporary refusal.
const RETRY_AFTER_MS: u64 = 1000;

/// The pause before a reservation is tried again of which nobody knows whether it was made.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// The bounds of the order path.
#[derive(Clone, Copy, Debug)]
pub struct OrderLimits {
    /// Orders of one shopper per second, and as many at once.
    pub per_user_per_s: NonZeroU32,
    /// Units in one order.
    pub max_quantity: u32,
    /// Orders on their way into the log.
    pub max_in_flight: usize,
    /// How long a shopper waits for the log's confirmation before the answer is left to follow.
    pub confirm_within: Duration,
    /// How long a refusal is remembered for a repeated request, and how many are.
    pub refusals_remembered: u64,
    pub refusals_remembered_for: Duration,
    /// Accepted orders whose outcome is watched for.
    pub outcomes_awaited: usize,
    /// Payment window of an order at list price.
    pub list_price_payment_window_ms: u64,
}

/// The engines and limits of the order path.
pub struct OrderService {
    catalog: Arc<Catalog>,
    reservations: Arc<dyn Reservations>,
    log: Arc<dyn OrderLog>,
    store: Arc<dyn OrderStore>,
    closings_bell: Arc<Notify>,
    limits: OrderLimits,
    per_user: DefaultKeyedRateLimiter<UserId>,
    refusals: Cache<(UserId, RequestId), Reason>,
    /// Requests that may hold units, as far as they came here.
    tried: Cache<(UserId, RequestId), ()>,
    awaited: Awaited,
    slots: Semaphore,
    in_flight: TaskTracker,
}

/// What an order is made of once its target is known.
struct Offer {
    pool: PoolId,
    item_id: ItemId,
    price: Price,
    payment_window_ms: u64,
}

/// The engines an [`OrderService`] works on.
pub struct OrderEngines {
    pub catalog: Arc<Catalog>,
    pub reservations: Arc<dyn Reservations>,
    pub log: Arc<dyn OrderLog>,
    pub store: Arc<dyn OrderStore>,
    /// Rung when an order was paid or cancelled, for the relay of closings.
    pub closings_bell: Arc<Notify>,
}

impl OrderService {
    pub fn new(engines: OrderEngines, limits: OrderLimits) -> Self {
        let OrderEngines { catalog, reservations, log, store, closings_bell } = engines;
        Self {
            catalog,
            reservations,
            log,
            store,
            closings_bell,
            per_user: RateLimiter::keyed(Quota::per_second(limits.per_user_per_s)),
            refusals: Cache::builder()
                .max_capacity(limits.refusals_remembered)
                .time_to_live(limits.refusals_remembered_for)
                .build(),
            tried: Cache::builder()
                .max_capacity(limits.refusals_remembered)
                .time_to_live(limits.refusals_remembered_for)
                .build(),
            awaited: Awaited::new(limits.outcomes_awaited),
            slots: Semaphore::new(limits.max_in_flight),
            in_flight: TaskTracker::new(),
            limits,
        }
    }

    /// Places an order: limit, reserve, append to the log, answer "accepted". A step once taken is finished even if the
    /// caller goes away, and a repeated `request_id` gets the first answer again.
    pub fn place(self: &Arc<Self>, wish: Wish) -> Placing {
        let service = Arc::clone(self);
        Placing(self.in_flight.spawn(async move {
            let placed = service.place_now(wish).await;
            count(placed);
            placed
        }))
    }

    async fn place_now(&self, wish: Wish) -> Placed {
        let was_tried = self.tried.contains_key(&(wish.user_id, wish.request_id));
        // The pool of an item's order changes with its promos, so its ledger may not know the request.
        if let Target::Item(_) = wish.target {
            match self.find(&wish, was_tried).await {
                Ok(Some(repeat)) => return self.repeat(repeat).await,
                Ok(None) => {}
                Err(placed) => return placed,
            }
        }
        let (_slot, offer) = match self.admit(&wish).await {
            Ok(admitted) => admitted,
            Err(refusal) => return self.unless_repeated(&wish, was_tried, refusal).await,
        };
        match self.reserve(reservation(&wish, &offer)).await {
            Ok(Reserved::Held(held)) => {
                fail_point!("order.reserved", |_| std::process::abort());
                self.awaited.expect(&held);
                self.append(held).await
            }
            Ok(Reserved::Repeated { order_id, unlogged }) => {
                self.repeat(Repeat { order_id, pool: offer.pool, unlogged }).await
            }
            Ok(Reserved::Refused(Reason::NotReady)) => {
                self.unless_repeated(&wish, was_tried, Placed::refused(Reason::NotReady)).await
            }
            Ok(Reserved::Refused(reason)) => self.refuse(&wish, reason),
            Err(EngineError::Unsure(error)) => {
                tracing::error!(%error, "an order may hold units, and is left to the relay");
                Placed::Unconfirmed
            }
            Err(error) => {
                tracing::error!(%error, "an order could not be reserved");
                self.unless_repeated(&wish, was_tried, Placed::refused(Reason::Unavailable)).await
            }
        }
    }

    /// What can be said without the ledger: the order is within every limit, and this is its offer, or a refusal.
    async fn admit(&self, wish: &Wish) -> Result<(SemaphorePermit<'_>, Offer), Placed> {
        if let Some(reason) = self.refusals.get(&(wish.user_id, wish.request_id)) {
            return Err(Placed::refused(reason));
        }
        if let Err(retry_after_ms) = self.within_limits(wish.user_id) {
            return Err(Placed::Refused {
                reason: Reason::RateLimited,
                retry_after_ms: Some(retry_after_ms),
            });
        }
        let slot = self.slots.try_acquire().map_err(|_| Placed::refused(Reason::Unavailable))?;
        let offer = self.offer(wish).await.map_err(|error| {
            tracing::error!(%error, "an order's offer could not be read");
            Placed::refused(Reason::Unavailable)
        })?;
        let offer = offer.ok_or_else(|| self.refuse(wish, Reason::BadRequest))?;
        if self.log.is_well() { Ok((slot, offer)) } else { Err(Placed::refused(Reason::Unavailable)) }
    }

    /// The refusal, unless the request became an order before. Asked before every refusal that is not the ledger's own: a
    /// repeated request must never be refused while the first one holds units.
    async fn unless_repeated(&self, wish: &Wish, was_tried: bool, refusal: Placed) -> Placed {
        match self.find(wish, was_tried).await {
            Ok(Some(repeat)) => self.repeat(repeat).await,
            Ok(None) => refusal,
            Err(placed) => placed,
        }
    }

    /// The order that the request became before. `Err`: nobody can know now, and this is the answer.
    async fn find(&self, wish: &Wish, was_tried: bool) -> Result<Option<Repeat>, Placed> {
        self.reservations.find(wish.user_id, wish.request_id).await.map_err(|error| {
            tracing::error!(%error, "a request could not be looked up");
            // "Refused" says that nothing was taken, and of a request that came here before this may not be so.
            if was_tried { Placed::Unconfirmed } else { Placed::refused(Reason::Unavailable) }
        })
    }

    /// Reserves. While it is unclear whether that was done, it is tried again: the same request takes its units once.
    async fn reserve(&self, order: Reservation) -> Result<Reserved, EngineError> {
        self.tried.insert((order.user_id, order.request_id), ());
        let deadline = Instant::now() + self.limits.confirm_within;
        loop {
            match self.reservations.reserve(order.clone()).await {
                Err(EngineError::Unsure(_)) if Instant::now() + RETRY_PAUSE < deadline => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    fn within_limits(&self, user: UserId) -> Result<(), u64> {
        self.per_user.check_key(&user).map_err(|until| {
            let wait = until.wait_time_from(governor::clock::DefaultClock::default().now());
            metrics::counter!("panicbuy_limits_hit_total", "limit" => "orders_per_user").increment(1);
            u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1)
        })
    }

    /// What the wish is for, at which price. `None`: there is no such thing, or not so many of it.
    async fn offer(&self, wish: &Wish) -> Result<Option<Offer>, CatalogError> {
        if wish.quantity == 0 || wish.quantity > self.limits.max_quantity {
            return Ok(None);
        }
        let promo = match wish.target {
            Target::Promo(id) => match self.catalog.promo(id).await? {
                Some(promo) if promo.status(clock::now()) != PromoStatus::Draft => Some(promo),
                _ => return Ok(None),
            },
            Target::Item(id) => {
                let now = clock::now();
                let current = self.catalog.current_promo(id, now).await?;
                current
                    .filter(|promo| matches!(promo.status(now), PromoStatus::Ongoing | PromoStatus::Paused))
            }
        };
        if let Some(promo) = promo {
            return Ok(Some(Offer {
                pool: PoolId::Promo(promo.id),
                item_id: promo.item_id,
                price: promo.price,
                payment_window_ms: promo.payment_window_ms,
            }));
        }
        let Target::Item(id) = wish.target else { return Ok(None) };
        Ok(self.catalog.item(id).await?.map(|item| Offer {
            pool: PoolId::Item(id),
            item_id: id,
            price: item.price,
            payment_window_ms: self.limits.list_price_payment_window_ms,
        }))
    }

    /// Answers a repeated request as the first one.
    async fn repeat(&self, repeat: Repeat) -> Placed {
        match repeat.unlogged {
            Some(unlogged) => self.append(unlogged).await,
            None => Placed::AcceptedBefore { order_id: repeat.order_id, promo_id: repeat.pool.promo() },
        }
    }

    /// Makes the reservation durable. The shopper is told "accepted" only after this.
    async fn append(&self, held: Reservation) -> Placed {
        let Reservation { order_id, pool, .. } = held;
        match tokio::time::timeout(self.limits.confirm_within, self.log.append(&held)).await {
            Ok(Ok(())) => {
                fail_point!("order.appended", |_| std::process::abort());
                if let Err(error) = self.reservations.logged(pool, &[order_id]).await {
                    tracing::warn!(%order_id, %error, "a logged reservation will be logged once more");
                }
                self.awaited.answered(order_id);
                return Placed::Accepted(order_id);
            }
            Ok(Err(error)) => tracing::error!(%order_id, %error, "a reservation is left to the relay"),
            Err(_) => tracing::warn!(%order_id, "the log is slow; the answer follows"),
        }
        match self.reservations.defer_answer(pool, order_id).await {
            // Settled meanwhile: the log had it after all.
            Ok(false) => Placed::Accepted(order_id),
            Ok(true) => Placed::Unconfirmed,
            Err(error) => {
                tracing::error!(%order_id, %error, "an answer could not be left to the order writer");
                Placed::Unconfirmed
            }
        }
    }

    fn refuse(&self, wish: &Wish, reason: Reason) -> Placed {
        if !reason.is_temporary() {
            self.refusals.insert((wish.user_id, wish.request_id), reason);
        }
        Placed::refused(reason)
    }

    /// Forgets shoppers who have been quiet, so that the limiter's memory is bounded. To be called now and then.
    pub fn forget_quiet_shoppers(&self) {
        self.per_user.retain_recent();
        self.per_user.shrink_to_fit();
    }

    /// Waits until every order that is under way has its answer.
    pub async fn finish(&self) {
        self.in_flight.close();
        self.in_flight.wait().await;
    }
}

fn reservation(wish: &Wish, offer: &Offer) -> Reservation {
    Reservation {
        order_id: random::order_id(),
        request_id: wish.request_id,
        user_id: wish.user_id,
        pool: offer.pool,
        item_id: offer.item_id,
        quantity: wish.quantity,
        price: offer.price,
        payment_window_ms: offer.payment_window_ms,
        reserved_at: clock::now(),
        epoch: Epoch::default(),
    }
}

fn count(placed: Placed) {
    let result = match placed {
        Placed::Accepted(_) | Placed::AcceptedBefore { .. } => "accepted",
        Placed::Refused { reason, .. } => reason.as_str(),
        Placed::Unconfirmed => "unconfirmed",
    };
    metrics::counter!("panicbuy_orders_total", "result" => result).increment(1);
}
