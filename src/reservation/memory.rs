//! The in-process engine: every pool's pure state machine behind a lock of its own.
//!
//! Serves both ports, because the waiting room and the ledger of a promo change in one step. Nothing here decides
//! anything: it finds the pool, takes its lock and asks the machine. What it holds is lost with the process and built
//! again from the database at the start.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use dashmap::DashMap;
use moka::sync::Cache;
use parking_lot::Mutex;

use crate::{
    admission::{
        port::{JoinError, LogState, RoomSettings, RoomView, Ticked, WaitingRooms},
        room::{Full, Room},
    },
    domain::{
        Admission, DrawKey, Epoch, OrderId, PoolId, PromoId, Reason, RequestId, Standing, Timestamp, UserId,
        Verdict,
    },
};

use crate::results::{
    memory::MemoryResults,
    port::{Event, Outcome},
};

use super::{
    ledger::Ledger,
    pool::Pool,
    port::{
        Closed, Closing, EngineError, Gate, Opening, Repeat, Reservation, Reservations, Reserved, Settled,
        Snapshot, WithdrawError,
    },
};

/// All pools of one process.
#[derive(Debug)]
pub struct MemoryEngine {
    results: Arc<MemoryResults>,
    request_memory_ms: u64,
    pools: DashMap<PoolId, Arc<Mutex<Pool>>>,
    /// The unsettled orders of each shopper, to answer for orders the database does not have yet.
    unsettled: DashMap<UserId, Vec<(OrderId, PoolId)>>,
    /// What each request became. Across pools, because the pool that an item's order draws on changes with the time.
    requests: Cache<(UserId, RequestId), (PoolId, OrderId)>,
}

/// Requests remembered across pools, at most; the oldest are left to the database's unique key.
const MAX_REQUESTS: u64 = 5_000_000;

impl MemoryEngine {
    /// `request_memory_ms`: how long a repeated `request_id` is recognised without asking the database.
    /// `results`: hears what changes for shoppers.
    pub fn new(results: Arc<MemoryResults>, request_memory_ms: u64) -> Self {
        let requests = Cache::builder()
            .max_capacity(MAX_REQUESTS)
            .time_to_live(Duration::from_millis(request_memory_ms))
            .build();
        Self { results, request_memory_ms, pools: DashMap::new(), unsettled: DashMap::new(), requests }
    }

    /// How often the rooms have changed, and, if that is not `than`, a copy of every room.
    pub fn rooms_if_changed(&self, than: u64) -> (u64, Option<BTreeMap<PromoId, Room>>) {
        // Collected first: no pool is locked while the map is being walked.
        let pools =
            self.pools.iter().filter_map(|entry| Some((entry.key().promo()?, Arc::clone(entry.value()))));
        let pools: Vec<(PromoId, Arc<Mutex<Pool>>)> = pools.collect();
        let changes_of = |pool: &Pool| pool.room.as_ref().map_or(0, |room| room.changes() + 1);
        let changes = pools.iter().map(|(_, pool)| changes_of(&pool.lock())).sum();
        if changes == than {
            return (changes, None);
        }
        let room_of = |(promo, pool): (PromoId, Arc<Mutex<Pool>>)| Some((promo, pool.lock().room.clone()?));
        (changes, Some(pools.into_iter().filter_map(room_of).collect()))
    }

    /// Lets the rooms of an earlier run go on, as far as their promos are open here.
    pub fn go_on(&self, rooms: BTreeMap<PromoId, Room>, now: Timestamp) {
        for (promo, room) in rooms {
            if let Err(error) = self.ask_promo(promo, |pool| pool.go_on(room, now)) {
                tracing::debug!(%promo, %error, "the saved room of a promo that is gone was dropped");
            }
        }
    }

    /// Asks the pool's machine under its lock.
    fn ask<T>(&self, pool: PoolId, ask: impl FnOnce(&mut Pool) -> T) -> Result<T, EngineError> {
        let found = self.pools.get(&pool).map(|entry| Arc::clone(entry.value()));
        let found = found.ok_or(EngineError::NotReady(pool))?;
        let answer = ask(&mut found.lock());
        Ok(answer)
    }

    fn ask_promo<T>(&self, promo: PromoId, ask: impl FnOnce(&mut Pool) -> T) -> Result<T, EngineError> {
        self.ask(PoolId::Promo(promo), ask)
    }

    /// Asks the promo's room; a promo without one is not ready.
    fn ask_room<T>(&self, promo: PromoId, ask: impl FnOnce(&mut Room) -> T) -> Result<T, EngineError> {
        self.ask_promo(promo, |pool| pool.room.as_mut().map(ask))?
            .ok_or(EngineError::NotReady(PoolId::Promo(promo)))
    }

    fn remember_unsettled(&self, order: &Reservation) {
        self.unsettled.entry(order.user_id).or_default().push((order.order_id, order.pool));
    }

    fn forget_unsettled(&self, order: &Reservation) {
        self.unsettled.remove_if_mut(&order.user_id, |_, orders| {
            orders.retain(|(id, _)| *id != order.order_id);
            orders.is_empty()
        });
    }
}

/// Where the shopper stands in the promo now; nothing for an item's own pool.
fn standing_news(pool: &Pool, id: PoolId, user: UserId) -> Vec<Event> {
    id.promo().map(|promo| Event::Standing(pool.standing(promo, user))).into_iter().collect()
}

/// What the shopper hears of a verdict.
fn outcome_news(pool: &Pool, settled: &Settled) -> Vec<Event> {
    let Reservation { user_id, request_id, order_id, pool: id, .. } = settled.reservation;
    let accepted = settled.answer_deferred.then_some(Event::Accepted { user_id, request_id, order_id });
    let mut news: Vec<Event> = accepted.into_iter().collect();
    news.push(Event::Outcome(Outcome::of(settled)));
    news.extend(standing_news(pool, id, user_id));
    news
}

#[async_trait]
impl Reservations for MemoryEngine {
    async fn open(&self, pool: PoolId, opening: Opening) -> Result<(), EngineError> {
        for order in &opening.orders {
            self.requests.insert((order.user_id, order.request_id), (pool, order.order_id));
        }
        let ledger = Ledger::new(opening, self.request_memory_ms);
        let fresh = Arc::new(Mutex::new(Pool { ledger, room: None }));
        let mut there = self.pools.entry(pool).or_insert_with(|| Arc::clone(&fresh));
        let epoch = fresh.lock().ledger.epoch();
        let is_later = there.lock().ledger.epoch() > epoch;
        if !is_later {
            *there = fresh;
        }
        Ok(())
    }

    async fn lost(&self, known: &[(PoolId, Epoch)]) -> Result<Vec<PoolId>, EngineError> {
        let is_lost = |(pool, epoch): &&(PoolId, Epoch)| {
            // A promo's ledger without its room sells nothing.
            let is_lost = |pool: &mut Pool| {
                pool.ledger.epoch() < *epoch || (pool.ledger.gate().is_some() && pool.room.is_none())
            };
            self.ask(*pool, is_lost).unwrap_or(true)
        };
        Ok(known.iter().filter(is_lost).map(|(pool, _)| *pool).collect())
    }

    async fn set_gate(&self, id: PoolId, gate: Gate) -> Result<(), EngineError> {
        self.ask(id, |pool| {
            let before = pool.ledger.gate();
            pool.ledger.set_gate(gate);
            if let Some(promo) = id.promo()
                && before.is_some_and(|before| before.paused != gate.paused)
            {
                self.results.publish(vec![Event::RoomChanged(promo)]);
            }
        })
    }

    async fn reserve(&self, order: Reservation) -> Result<Reserved, EngineError> {
        let reserved = self.ask(order.pool, |pool| {
            let reserved = pool.reserve(order);
            // Under the pool's lock, so that the order cannot be settled before it is remembered.
            if let Reserved::Held(held) = &reserved {
                self.requests.insert((held.user_id, held.request_id), (held.pool, held.order_id));
                self.remember_unsettled(held);
                self.results.publish(standing_news(pool, held.pool, held.user_id));
            }
            reserved
        });
        match reserved {
            Err(EngineError::NotReady(_)) => Ok(Reserved::Refused(Reason::NotReady)),
            answer => answer,
        }
    }

    async fn find(&self, user: UserId, request: RequestId) -> Result<Option<Repeat>, EngineError> {
        let Some((pool, order_id)) = self.requests.get(&(user, request)) else { return Ok(None) };
        let unlogged = self.ask(pool, |pool| pool.ledger.unlogged_order(order_id))?;
        Ok(Some(Repeat { order_id, pool, unlogged }))
    }

    async fn defer_answer(&self, pool: PoolId, order: OrderId) -> Result<bool, EngineError> {
        self.ask(pool, |pool| pool.ledger.defer_answer(order))
    }

    async fn logged(&self, pool: PoolId, orders: &[OrderId]) -> Result<(), EngineError> {
        self.ask(pool, |pool| orders.iter().for_each(|order| pool.ledger.logged(*order)))
    }

    async fn settle(
        &self,
        pool: PoolId,
        verdicts: &[(OrderId, Verdict)],
    ) -> Result<Vec<Settled>, EngineError> {
        let settled = self.ask(pool, |pool| {
            let mut news = Vec::new();
            let mut settled = Vec::new();
            for (order, verdict) in verdicts {
                let Some(now) = pool.ledger.settle(*order, *verdict) else { continue };
                news.extend(outcome_news(pool, &now));
                settled.push(now);
            }
            self.results.publish(news);
            settled
        })?;
        for settled in &settled {
            self.forget_unsettled(&settled.reservation);
        }
        Ok(settled)
    }

    async fn close(&self, id: PoolId, order: OrderId, how: Closing) -> Result<Closed, EngineError> {
        self.ask(id, |pool| {
            let user = pool.ledger.posted_by(order);
            let closed = pool.ledger.close(order, how);
            if let (Closed::Now, Some(user)) = (closed, user) {
                self.results.publish(standing_news(pool, id, user));
            }
            closed
        })
    }

    async fn deposit(&self, pool: PoolId, units: u32) -> Result<(), EngineError> {
        self.ask(pool, |pool| pool.ledger.deposit(units))
    }

    async fn withdraw(&self, pool: PoolId, units: u32) -> Result<(), WithdrawError> {
        Ok(self.ask(pool, |pool| pool.withdraw(units))??)
    }

    async fn snapshot(&self, pool: PoolId) -> Result<Snapshot, EngineError> {
        self.ask(pool, |pool| pool.snapshot())
    }

    async fn pending(&self, user: UserId, order: OrderId) -> Result<Option<Reservation>, EngineError> {
        let found = self.pending_of(user).await?;
        Ok(found.into_iter().find(|reservation| reservation.order_id == order))
    }

    async fn pending_of(&self, user: UserId) -> Result<Vec<Reservation>, EngineError> {
        let orders = self.unsettled.get(&user).map(|entry| entry.value().clone()).unwrap_or_default();
        let find = |(order, pool)| self.ask(pool, |pool| pool.ledger.pending(order).cloned()).ok().flatten();
        Ok(orders.into_iter().filter_map(find).collect())
    }

    async fn overdue(
        &self,
        unlogged_before: Timestamp,
        logged_before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Reservation>, EngineError> {
        let pools: Vec<_> = self.pools.iter().map(|entry| Arc::clone(entry.value())).collect();
        let mut found = Vec::new();
        for pool in pools {
            let pool = pool.lock();
            let overdue = pool.ledger.overdue(unlogged_before, logged_before);
            found.extend(overdue.take(limit - found.len()).cloned());
            if found.len() == limit {
                break;
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl WaitingRooms for MemoryEngine {
    async fn open_room(&self, promo: PromoId, settings: RoomSettings) -> Result<(), EngineError> {
        self.ask_promo(promo, |pool| pool.room = Some(Room::new(settings)))
    }

    async fn configure(&self, promo: PromoId, admission: Admission) -> Result<(), EngineError> {
        self.ask_room(promo, |room| room.configure(admission))
    }

    async fn join(
        &self,
        promo: PromoId,
        user: UserId,
        key: DrawKey,
        now: Timestamp,
    ) -> Result<Standing, JoinError> {
        let joined =
            self.ask_promo(promo, |pool| pool.join(user, key, now).map(|()| pool.standing(promo, user)))?;
        joined.map_err(|Full| JoinError::Full)
    }

    async fn leave(&self, promo: PromoId, user: UserId) -> Result<Standing, EngineError> {
        self.ask_promo(promo, |pool| {
            if let Some(room) = pool.room.as_mut() {
                room.leave(user);
            }
            pool.standing(promo, user)
        })
    }

    async fn seen(&self, promo: PromoId, users: &[UserId], now: Timestamp) -> Result<(), EngineError> {
        self.ask_room(promo, |room| users.iter().for_each(|user| room.seen(*user, now)))
    }

    async fn tick(&self, promo: PromoId, now: Timestamp, log: LogState) -> Result<Ticked, EngineError> {
        self.ask_promo(promo, |pool| {
            let ticked = pool.tick(promo, now, log);
            // If everybody is told where they stand, who was admitted at once need not be told twice.
            let changed = ticked.changed.iter().filter(|_| !ticked.opened).cloned().map(Event::Standing);
            let everybody = (ticked.opened || ticked.passes_moved).then_some(Event::RoomChanged(promo));
            self.results.publish(changed.chain(everybody).collect());
            ticked
        })
    }

    async fn standings(&self, promo: PromoId, users: &[UserId]) -> Result<Vec<Standing>, EngineError> {
        self.ask_promo(promo, |pool| users.iter().map(|user| pool.standing(promo, *user)).collect())
    }

    async fn view(&self, promo: PromoId) -> Result<RoomView, EngineError> {
        let not_ready = || EngineError::NotReady(PoolId::Promo(promo));
        self.ask_promo(promo, |pool| pool.view())?.ok_or_else(not_ready)
    }

    async fn draw(&self, promo: PromoId, after: u64, limit: usize) -> Result<Vec<DrawKey>, EngineError> {
        self.ask_room(promo, |room| room.draw(after, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        reservation::conformance::{Fixture, conformance},
        results::port::Results,
    };

    #[expect(clippy::unused_async, reason = "other engines are opened with await")]
    async fn open() -> Fixture {
        let results = Arc::new(MemoryResults::new(1_000));
        let news = results.subscribe();
        let engine = Arc::new(MemoryEngine::new(results, 3_600_000));
        Fixture { engine, news, tells_building: false }
    }

    conformance!(tests: open);
}
