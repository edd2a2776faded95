//! The port of the ledgers, on Redis.

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    super::port::{
        Closed, Closing, EngineError, Gate, Insufficient, Opening, Repeat, Reservation, Reservations,
        Reserved, Settled, Snapshot, WithdrawError,
    },
    RedisEngine,
    call::{NO_TIME, nonsense, word},
    open::gate_words,
    scripts, wire,
};
use crate::{
    domain::{Epoch, OrderId, PoolId, Reason, RequestId, Timestamp, UserId, Verdict},
    random,
};

/// Verdicts in one call, each with several commands.
const VERDICTS_AT_ONCE: usize = 100;
/// Overdue reservations in one call, of each kind.
const OVERDUE_AT_ONCE: usize = 100;
/// Pools asked at the same time.
const POOLS_AT_ONCE: usize = 32;
/// Words in the answer to one verdict.
const WORDS_PER_VERDICT: usize = 3;

#[async_trait]
impl Reservations for RedisEngine {
    async fn open(&self, pool: PoolId, opening: Opening) -> Result<(), EngineError> {
        self.build(pool, &opening).await
    }

    async fn lost(&self, known: &[(PoolId, Epoch)]) -> Result<Vec<PoolId>, EngineError> {
        let checks = stream::iter(known.to_vec()).map(|(pool, epoch)| async move {
            self.caller.epochs.learn(pool, epoch).await;
            Ok::<_, EngineError>((pool, self.is_lost(pool, epoch).await?))
        });
        let checked: Vec<(PoolId, bool)> = checks.buffered(POOLS_AT_ONCE).try_collect().await?;
        Ok(checked.into_iter().filter_map(|(pool, lost)| lost.then_some(pool)).collect())
    }

    async fn set_gate(&self, pool: PoolId, gate: Gate) -> Result<(), EngineError> {
        self.caller.call(&scripts::SET_GATE, pool, NO_TIME, |_| gate_words(gate).to_vec()).await?;
        Ok(())
    }

    async fn reserve(&self, order: Reservation) -> Result<Reserved, EngineError> {
        match self.reserving.ask(order.pool, order).await {
            Err(EngineError::NotReady(_)) => Ok(Reserved::Refused(Reason::NotReady)),
            answer => answer,
        }
    }

    async fn find(&self, user: UserId, request: RequestId) -> Result<Option<Repeat>, EngineError> {
        let Some((pool, order_id)) = self.index.request(user, request).await? else { return Ok(None) };
        let answer = self.caller.call(&scripts::FIND, pool, NO_TIME, |_| vec![word(order_id)]).await?;
        let unlogged = wire::optional_reservation(answer.rest().first().map_or("", String::as_str))?;
        Ok(Some(Repeat { order_id, pool, unlogged }))
    }

    async fn defer_answer(&self, pool: PoolId, order: OrderId) -> Result<bool, EngineError> {
        let answer = self.caller.call(&scripts::DEFER_ANSWER, pool, NO_TIME, |_| vec![word(order)]).await?;
        Ok(answer.parse::<u8>(0)? == 1)
    }

    /// Best effort, and nobody waits for it: a reservation whose mark is lost is logged once more, which does no harm.
    async fn logged(&self, pool: PoolId, orders: &[OrderId]) -> Result<(), EngineError> {
        for order in orders {
            self.marking.put(pool, *order)?;
        }
        Ok(())
    }

    async fn settle(
        &self,
        pool: PoolId,
        verdicts: &[(OrderId, Verdict)],
    ) -> Result<Vec<Settled>, EngineError> {
        let mut all = Vec::with_capacity(verdicts.len());
        for verdicts in verdicts.chunks(VERDICTS_AT_ONCE) {
            let words = |_| verdicts.iter().flat_map(wire::verdict_words).collect();
            let answer = self.caller.call(&scripts::SETTLE, pool, NO_TIME, words).await?;
            let settled = answer.rest().chunks(WORDS_PER_VERDICT).map(|words| wire::settled(words, verdicts));
            let settled = settled.collect::<Result<Vec<Settled>, _>>()?;
            let done = settled.iter().map(|settled| &settled.reservation);
            self.index.forget_pending(done.map(|order| (order.user_id, order.order_id))).await;
            all.extend(settled);
        }
        Ok(all)
    }

    async fn close(&self, pool: PoolId, order: OrderId, how: Closing) -> Result<Closed, EngineError> {
        let words = |_| vec![word(order), word(how.status().as_str())];
        let answer = self.caller.call(&scripts::CLOSE, pool, NO_TIME, words).await?;
        match answer.words.first().map(String::as_str) {
            Some("now") => Ok(Closed::Now),
            Some("before") => Ok(Closed::Before),
            Some("not_settled") => Ok(Closed::NotSettled),
            _ => Err(nonsense(&answer.words.join(" "))),
        }
    }

    async fn deposit(&self, pool: PoolId, units: u32) -> Result<(), EngineError> {
        let operation = random::uuid();
        self.caller.call(&scripts::DEPOSIT, pool, NO_TIME, |_| vec![word(operation), word(units)]).await?;
        Ok(())
    }

    async fn withdraw(&self, pool: PoolId, units: u32) -> Result<(), WithdrawError> {
        let operation = random::uuid();
        let words = |_| vec![word(operation), word(units)];
        let answer = self.caller.call(&scripts::WITHDRAW, pool, NO_TIME, words).await?;
        if answer.is("insufficient") {
            return Err(Insufficient { available: answer.parse(0)? }.into());
        }
        Ok(())
    }

    async fn snapshot(&self, pool: PoolId) -> Result<Snapshot, EngineError> {
        let answer = self.caller.call(&scripts::SNAPSHOT, pool, NO_TIME, |_| Vec::new()).await?;
        Ok(Snapshot {
            initial: answer.parse(0)?,
            available: answer.parse(1)?,
            pending: answer.parse(2)?,
            sold: answer.parse(3)?,
            holds: answer.parse(4)?,
            version: answer.parse(5)?,
        })
    }

    async fn pending(&self, user: UserId, order: OrderId) -> Result<Option<Reservation>, EngineError> {
        let orders = self.index.pending_of(user).await?;
        let Some((_, pool)) = orders.into_iter().find(|(id, _)| *id == order) else { return Ok(None) };
        self.still_pending(pool, order).await
    }

    async fn pending_of(&self, user: UserId) -> Result<Vec<Reservation>, EngineError> {
        let orders = self.index.pending_of(user).await?;
        let found = stream::iter(orders).map(|(order, pool)| self.still_pending(pool, order));
        let found: Vec<Option<Reservation>> = found.buffered(POOLS_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn overdue(
        &self,
        unlogged_before: Timestamp,
        logged_before: Timestamp,
        limit: usize,
    ) -> Result<Vec<Reservation>, EngineError> {
        let mut found = Vec::new();
        for (pool, noted) in self.index.busy().await? {
            let most = limit - found.len();
            if most == 0 {
                break;
            }
            match self.overdue_in(pool, unlogged_before, logged_before, most).await {
                Ok((0, _)) => self.index.forget_busy(pool, noted, unlogged_before).await,
                Ok((_, overdue)) => found.extend(overdue),
                // The others are looked at all the same.
                Err(error) => tracing::debug!(%pool, %error, "overdue reservations were not looked at"),
            }
        }
        Ok(found)
    }
}

impl RedisEngine {
    /// What [`Reservations::reserve`] does for orders of one pool that arrive together, in this order.
    pub async fn reserve_together(
        &self,
        pool: PoolId,
        orders: &[Reservation],
    ) -> Result<Vec<Reserved>, EngineError> {
        self.reserving.run(pool, orders).await
    }

    /// Notes that the reservation is in the log, and waits until Redis has it.
    pub async fn logged_for_sure(&self, pool: PoolId, order: OrderId) -> Result<(), EngineError> {
        self.marking.ask(pool, order).await
    }

    async fn is_lost(&self, pool: PoolId, epoch: Epoch) -> Result<bool, EngineError> {
        let answer = self.caller.run(&scripts::CHECK, pool, epoch, NO_TIME, Vec::new()).await?;
        // An answer without an epoch: there is no ledger that could be used.
        let there = answer.rest().first().and_then(|there| there.parse::<u64>().ok());
        Ok(!answer.is("ok") && there.is_none_or(|there| there < epoch.0))
    }

    /// A pool that is not ready holds nothing that anybody may count on.
    async fn still_pending(&self, pool: PoolId, order: OrderId) -> Result<Option<Reservation>, EngineError> {
        match self.caller.call(&scripts::PENDING, pool, NO_TIME, |_| vec![word(order)]).await {
            Ok(answer) => wire::optional_reservation(answer.rest().first().map_or("", String::as_str)),
            Err(EngineError::NotReady(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// How many reservations the pool holds, and those that are overdue, oldest first.
    async fn overdue_in(
        &self,
        pool: PoolId,
        unlogged_before: Timestamp,
        logged_before: Timestamp,
        limit: usize,
    ) -> Result<(u64, Vec<Reservation>), EngineError> {
        let (unlogged, logged) = (unlogged_before.as_millis(), logged_before.as_millis());
        let mut overdue: Vec<Reservation> = Vec::new();
        let (mut from, mut held, mut more) = (0, 0, true);
        while more && overdue.len() < limit {
            let words = |_| vec![word(unlogged), word(logged), word(from), word(OVERDUE_AT_ONCE)];
            let answer = self.caller.call(&scripts::OVERDUE, pool, NO_TIME, words).await?;
            (held, more) = (answer.parse(0)?, answer.parse::<u8>(1)? == 1);
            let texts = answer.rest().iter().skip(2);
            overdue.extend(texts.map(|text| wire::reservation(text)).collect::<Result<Vec<_>, _>>()?);
            from += OVERDUE_AT_ONCE;
        }
        overdue.sort_unstable_by_key(|order| order.order_id);
        overdue.truncate(limit);
        Ok((held, overdue))
    }
}
