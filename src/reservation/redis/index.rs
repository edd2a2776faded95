//! What is found across pools, and therefore cannot change in one step with a pool: its keys lie in other slots.
//!
//! All of it is in one slot of its own, so that one call notes a whole batch. Written before an order is answered, so that what was answered is found. An entry that could not be written, or outlives
//! its order, does no harm: requests are caught by the pool and by the database, and whoever follows an entry asks the pool.

use std::collections::BTreeMap;

use dashmap::DashMap;
use fred::{
    interfaces::{HashesInterface, KeysInterface, SortedSetsInterface},
    types::Value,
};

use super::scripts;
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
        format!("{}{{index}}:request:{user}:{request}", self.redis.prefix())
    }

    fn pending_key(&self, user: UserId) -> String {
        format!("{}{{index}}:pending:{user}", self.redis.prefix())
    }

    fn busy_key(&self) -> String {
        format!("{}busy", self.redis.prefix())
    }

    /// Notes what each request became, under its shopper, and that the order is pending if it is.
    pub(super) async fn note(
        &self,
        pool: PoolId,
        orders: impl Iterator<Item = (UserId, RequestId, OrderId)>,
        pending: bool,
    ) -> Result<(), RedisError> {
        let (mut keys, mut args) = (Vec::new(), Vec::new());
        for (user, request, order) in orders {
            keys.extend([self.request_key(user, request), self.pending_key(user)]);
            args.push(Value::from(order.to_string()));
        }
        let common = [self.memory_ms.to_string(), pool.to_string(), u8::from(pending).to_string()];
        args.splice(0..0, common.map(Value::from));
        self.redis.run(&scripts::NOTE, keys, args).await.map(drop)
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
        let (keys, args): (Vec<String>, Vec<Value>) =
            settled.map(|(user, order)| (self.pending_key(user), Value::from(order.to_string()))).unzip();
        if keys.is_empty() {
            return;
        }
        if let Err(error) = self.redis.run(&scripts::FORGET, keys, args).await {
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
