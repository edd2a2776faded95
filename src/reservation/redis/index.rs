//! What is found across pools, and therefore cannot change in one step with a pool: its keys lie in other slots.
//!
//! Written before an order is answered, so that what was answered is found. An entry that could not be written, or outlives
//! its order, does no harm: requests are caught by the pool and by the database, and whoever follows an entry asks the pool.

use std::collections::BTreeMap;

use dashmap::DashMap;
use fred::{
    interfaces::{HashesInterface, KeysInterface, SortedSetsInterface},
    types::Expiration,
};
use futures_util::future::join_all;

use super::{super::port::Reservation, scripts};
use crate::{
    domain::{Epoch, OrderId, PoolId, RequestId, Timestamp, UserId},
    redis::{Redis, RedisError},
};

/// A pool that sells is noted as busy so often, by each process; in the time of its orders.
const BUSY_EVERY_MS: u64 = 1_000;
/// A pool that has no reservations and was not busy for so long is not looked at any more.
const QUIET_MS: u64 = 60_000;
/// Pools that are looked at for overdue reservations at once; the longest busy first.
const MAX_BUSY: i64 = 10_000;

pub(super) struct Index {
    redis: Redis,
    memory_ms: i64,
    /// Under which epoch and when each pool was noted last: who loses a ledger loses the note too.
    noted_busy: DashMap<PoolId, (Epoch, Timestamp)>,
}

impl Index {
    /// `memory_ms`: how long entries live.
    pub(super) fn new(redis: Redis, memory_ms: u64) -> Self {
        Self { redis, memory_ms: i64::try_from(memory_ms).unwrap_or(i64::MAX), noted_busy: DashMap::new() }
    }

    fn request_key(&self, user: UserId, request: RequestId) -> String {
        format!("{}req:{{{user}}}:{request}", self.redis.prefix())
    }

    fn pending_key(&self, user: UserId) -> String {
        format!("{}pend:{{{user}}}", self.redis.prefix())
    }

    fn busy_key(&self) -> String {
        format!("{}busy", self.redis.prefix())
    }

    /// Notes what each request became, all at once.
    pub(super) async fn note_requests(
        &self,
        pool: PoolId,
        orders: impl Iterator<Item = (UserId, RequestId, OrderId)>,
    ) -> Result<(), RedisError> {
        let note = |(user, request, order)| async move {
            let key = self.request_key(user, request);
            let expire = Some(Expiration::PX(self.memory_ms));
            self.redis.commands().set::<(), _, _>(key, format!("{pool} {order}"), expire, None, false).await
        };
        let written = join_all(orders.map(note)).await;
        Ok(written.into_iter().collect::<Result<(), _>>()?)
    }

    /// Notes the reservations under their shoppers and requests.
    pub(super) async fn note_held(&self, pool: PoolId, held: &[&Reservation]) -> Result<(), RedisError> {
        let note = |order: &Reservation| {
            let (user, id) = (order.user_id, order.order_id);
            async move {
                let (commands, key) = (self.redis.commands(), self.pending_key(user));
                commands.hset::<(), _, _>(&key, (id.to_string(), pool.to_string())).await?;
                commands.pexpire::<(), _>(&key, self.memory_ms, None).await
            }
        };
        let requests = held.iter().map(|order| (order.user_id, order.request_id, order.order_id));
        let (requests, pending) =
            tokio::join!(self.note_requests(pool, requests), join_all(held.iter().map(|order| note(order))));
        requests?;
        Ok(pending.into_iter().collect::<Result<(), _>>()?)
    }

    /// What the request became, and in which pool.
    pub(super) async fn request(
        &self,
        user: UserId,
        request: RequestId,
    ) -> Result<Option<(PoolId, OrderId)>, RedisError> {
        let key = self.request_key(user, request);
        let found: Option<String> = self.redis.commands().get(key).await?;
        Ok(found.and_then(|text| {
            let (pool, order) = text.split_once(' ')?;
            Some((pool.parse().ok()?, OrderId(order.parse().ok()?)))
        }))
    }

    /// The shopper's orders that were not settled when this was last written, and their pools; oldest first.
    pub(super) async fn pending_of(&self, user: UserId) -> Result<Vec<(OrderId, PoolId)>, RedisError> {
        let found: BTreeMap<String, String> = self.redis.commands().hgetall(self.pending_key(user)).await?;
        let parse =
            |(order, pool): (String, String)| Some((OrderId(order.parse().ok()?), pool.parse().ok()?));
        Ok(found.into_iter().filter_map(parse).collect())
    }

    /// Forgets reservations that are settled. Best effort.
    pub(super) async fn forget_pending(&self, settled: impl Iterator<Item = (UserId, OrderId)>) {
        let forget = |(user, order): (UserId, OrderId)| async move {
            self.redis.commands().hdel::<(), _, _>(self.pending_key(user), order.to_string()).await
        };
        if let Err(error) = join_all(settled.map(forget)).await.into_iter().collect::<Result<(), _>>() {
            tracing::debug!(%error, "settled orders are looked up once more than they need be");
        }
    }

    /// Notes that the pool's ledger of this epoch holds reservations, or is about to. `now`: that of the reservation.
    pub(super) async fn note_busy(
        &self,
        pool: PoolId,
        epoch: Epoch,
        now: Timestamp,
    ) -> Result<(), RedisError> {
        let was_just_noted =
            |noted: &(Epoch, Timestamp)| noted.0 == epoch && now.since(noted.1) < BUSY_EVERY_MS;
        if self.noted_busy.get(&pool).is_some_and(|noted| was_just_noted(noted.value())) {
            return Ok(());
        }
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 have 41 bits")]
        let score = now.as_millis() as f64;
        let entry = (score, pool.to_string());
        self.redis.commands().zadd::<(), _, _>(self.busy_key(), None, None, false, false, entry).await?;
        self.noted_busy.insert(pool, (epoch, now));
        Ok(())
    }

    /// Pools that may hold reservations, and when they were last noted.
    pub(super) async fn busy(&self) -> Result<Vec<(PoolId, f64)>, RedisError> {
        let commands = self.redis.commands();
        let found: Vec<(String, f64)> =
            commands.zrange(self.busy_key(), 0, MAX_BUSY - 1, None, false, None, true).await?;
        Ok(found.into_iter().filter_map(|(pool, at)| Some((pool.parse().ok()?, at))).collect())
    }

    /// Stops looking at a pool that holds nothing and was last busy at `noted`, if that is long before `now`. Best effort.
    pub(super) async fn forget_busy(&self, pool: PoolId, noted: f64, now: Timestamp) {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 have 41 bits")]
        let quiet_since = now.minus_millis(QUIET_MS).as_millis() as f64;
        if noted > quiet_since {
            return;
        }
        let args = vec![pool.to_string().into(), noted.to_string().into()];
        if let Err(error) = self.redis.run(&scripts::FORGET_BUSY, vec![self.busy_key()], args).await {
            tracing::debug!(%pool, %error, "a quiet pool is looked at once more");
        }
    }
}
