//! The calls that many make at once: reserve, join, look, where a shopper stands, and the marks of what was logged.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{
    super::port::{EngineError, Reservation, Reserved},
    batcher::Batch,
    call::{Caller, NO_TIME, nonsense, user_word, word},
    index::Index,
    scripts, wire,
};
use crate::{
    admission::port::RoomView,
    domain::{DrawKey, Epoch, OrderId, PoolId, PromoId, Standing, Timestamp, UserId},
};

/// Words in the answer to one order.
const WORDS_PER_ORDER: usize = 3;

pub(super) struct Reserving {
    pub(super) caller: Arc<Caller>,
    pub(super) index: Arc<Index>,
}

#[async_trait]
impl Batch for Reserving {
    type Job = Reservation;
    type Answer = Reserved;

    async fn run(&self, pool: PoolId, orders: &[Reservation]) -> Result<Vec<Reserved>, EngineError> {
        // Before anything is held: a reservation that nobody looks for would never be logged again.
        let newest = orders.iter().map(|order| order.reserved_at).max().unwrap_or(NO_TIME);
        let epoch = self.caller.epochs.of(pool).await?;
        let noted = self.index.note_busy(pool, epoch, newest).await;
        noted.map_err(|error| EngineError::Unavailable(error.to_string()))?;
        let under = |epoch| orders.iter().map(move |order| Reservation { epoch, ..order.clone() });
        let words =
            |epoch| under(epoch).filter_map(|order| wire::order_words(&order).ok()).flatten().collect();
        let answer = self.caller.call(&scripts::RESERVE, pool, NO_TIME, words).await?;
        if answer.rest().len() != orders.len() * WORDS_PER_ORDER {
            return Err(nonsense(&answer.words.join(" ")));
        }
        let answers = answer.rest().chunks_exact(WORDS_PER_ORDER).zip(under(answer.epoch));
        let reserved = answers.map(|(words, order)| wire::reserved(words, order));
        let reserved = reserved.collect::<Result<Vec<Reserved>, _>>()?;
        self.note(pool, answer.epoch, newest, &reserved).await;
        Ok(reserved)
    }
}

impl Reserving {
    async fn note(&self, pool: PoolId, epoch: Epoch, now: Timestamp, reserved: &[Reserved]) {
        let held: Vec<&Reservation> = reserved
            .iter()
            .filter_map(|reserved| match reserved {
                // Who repeats a request may do so because the first answer was lost, and with it these notes.
                Reserved::Held(held) | Reserved::Repeated { unlogged: Some(held), .. } => Some(held),
                Reserved::Repeated { .. } | Reserved::Refused(_) => None,
            })
            .collect();
        if held.is_empty() {
            return;
        }
        // The ledger may have turned out to be a later one than that which was noted as busy.
        let noted = async {
            self.index.note_busy(pool, epoch, now).await?;
            let orders = held.iter().map(|order| (order.user_id, order.request_id, order.order_id));
            self.index.note(pool, orders, true).await
        };
        if let Err(error) = noted.await {
            tracing::warn!(%pool, %error, "orders that were just reserved may not be found by their shoppers yet");
        }
    }
}

pub(super) struct Joining {
    pub(super) caller: Arc<Caller>,
}

/// Someone who wants a place.
pub(super) struct Joiner {
    pub(super) promo: PromoId,
    pub(super) user: UserId,
    pub(super) key: DrawKey,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Batch for Joining {
    type Job = Joiner;
    /// `None`: the room is full.
    type Answer = Option<Standing>;

    async fn run(&self, pool: PoolId, joiners: &[Joiner]) -> Result<Vec<Option<Standing>>, EngineError> {
        let words = |_| {
            let words = |joiner: &Joiner| {
                [word(user_word(joiner.user)), word(joiner.key.0), word(joiner.now.as_millis())]
            };
            joiners.iter().flat_map(words).collect()
        };
        let answer = self.caller.call(&scripts::JOIN, pool, NO_TIME, words).await?;
        if answer.rest().len() != joiners.len() {
            return Err(nonsense(&answer.words.join(" ")));
        }
        let stands = |(joiner, word): (&Joiner, &String)| {
            if word == "full" { Ok(None) } else { wire::standing(joiner.promo, word).map(Some) }
        };
        joiners.iter().zip(answer.rest()).map(stands).collect()
    }
}

/// Looks at a room: everybody who asks while a look is under way shares the next one.
pub(super) struct Looking {
    pub(super) caller: Arc<Caller>,
}

#[async_trait]
impl Batch for Looking {
    type Job = ();
    type Answer = RoomView;

    /// One look answers everybody.
    const MAX_JOBS: usize = usize::MAX;

    async fn run(&self, pool: PoolId, askers: &[()]) -> Result<Vec<RoomView>, EngineError> {
        let answer = self.caller.call(&scripts::VIEW, pool, NO_TIME, |_| Vec::new()).await?;
        Ok(vec![wire::room_view(pool, answer)?; askers.len()])
    }
}

/// Where single shoppers stand.
pub(super) struct Standings {
    pub(super) caller: Arc<Caller>,
}

#[async_trait]
impl Batch for Standings {
    type Job = UserId;
    type Answer = Standing;

    async fn run(&self, pool: PoolId, users: &[UserId]) -> Result<Vec<Standing>, EngineError> {
        let PoolId::Promo(promo) = pool else { return Err(EngineError::NotReady(pool)) };
        let words = |_| users.iter().map(|user| word(user_word(*user))).collect();
        let answer = self.caller.call(&scripts::STANDINGS, pool, NO_TIME, words).await?;
        if answer.rest().len() != users.len() {
            return Err(nonsense(&answer.words.join(" ")));
        }
        answer.rest().iter().map(|text| wire::standing(promo, text)).collect()
    }
}

pub(super) struct Marking {
    pub(super) caller: Arc<Caller>,
}

#[async_trait]
impl Batch for Marking {
    type Job = OrderId;
    type Answer = ();

    const MAX_JOBS: usize = 1000;
    /// Well below the time after which the relay takes an order for lost.
    const LINGER: Duration = Duration::from_millis(100);

    async fn run(&self, pool: PoolId, orders: &[OrderId]) -> Result<Vec<()>, EngineError> {
        let words = |_| orders.iter().map(word).collect();
        self.caller.call(&scripts::LOGGED, pool, NO_TIME, words).await?;
        Ok(vec![(); orders.len()])
    }
}
