//! The port of the waiting rooms, on Redis.

use async_trait::async_trait;

use super::{
    super::port::EngineError,
    RedisEngine,
    batches::Joiner,
    call::{NO_TIME, nonsense, user_word, word},
    scripts,
    wire::{self, with_room},
};
use crate::{
    admission::port::{JoinError, LogState, RoomSettings, RoomView, Ticked, WaitingRooms},
    clock,
    domain::{Admission, DrawKey, PoolId, PromoId, Standing, Timestamp, UserId},
};

/// Shoppers in one call. Telling where one stands takes several commands.
const USERS_AT_ONCE: usize = 100;
/// Keys of a draw in one call.
const KEYS_AT_ONCE: usize = 500;

#[async_trait]
impl WaitingRooms for RedisEngine {
    async fn open_room(&self, promo: PromoId, settings: RoomSettings) -> Result<(), EngineError> {
        self.open_room_at(promo, settings, clock::now()).await
    }

    async fn configure(&self, promo: PromoId, admission: Admission) -> Result<(), EngineError> {
        let words =
            |_| vec![word(admission.rate_per_s), word(admission.max_active), word(admission.pass_ttl_ms)];
        let answer = self.caller.call(&scripts::CONFIGURE, PoolId::Promo(promo), NO_TIME, words).await?;
        with_room(PoolId::Promo(promo), answer).map(drop)
    }

    async fn join(
        &self,
        promo: PromoId,
        user: UserId,
        key: DrawKey,
        now: Timestamp,
    ) -> Result<Standing, JoinError> {
        let joined = self.joining.ask(PoolId::Promo(promo), Joiner { promo, user, key, now }).await?;
        joined.ok_or(JoinError::Full)
    }

    async fn leave(&self, promo: PromoId, user: UserId) -> Result<Standing, EngineError> {
        let words = |_| vec![word(user_word(user))];
        let answer = self.caller.call(&scripts::LEAVE, PoolId::Promo(promo), NO_TIME, words).await?;
        wire::standing(promo, answer.rest().first().map_or("", String::as_str))
    }

    async fn seen(&self, promo: PromoId, users: &[UserId], now: Timestamp) -> Result<(), EngineError> {
        for users in users.chunks(USERS_AT_ONCE) {
            let words = |_| users.iter().map(|user| word(user_word(*user))).collect();
            let answer = self.caller.call(&scripts::SEEN, PoolId::Promo(promo), now, words).await?;
            with_room(PoolId::Promo(promo), answer)?;
        }
        Ok(())
    }

    async fn tick(&self, promo: PromoId, now: Timestamp, log: LogState) -> Result<Ticked, EngineError> {
        let words = |_| vec![word(log.as_str())];
        let answer = self.caller.call(&scripts::TICK, PoolId::Promo(promo), now, words).await?;
        let changed = answer.rest().iter().skip(3).map(|text| wire::standing(promo, text));
        Ok(Ticked {
            opened: answer.parse::<u8>(0)? == 1,
            passes_moved: answer.parse::<u8>(1)? == 1,
            more: answer.parse::<u8>(2)? == 1,
            changed: changed.collect::<Result<_, _>>()?,
        })
    }

    async fn standings(&self, promo: PromoId, users: &[UserId]) -> Result<Vec<Standing>, EngineError> {
        let pool = PoolId::Promo(promo);
        if let [user] = users {
            return Ok(vec![self.standings.ask(pool, *user).await?]);
        }
        let mut standings = Vec::with_capacity(users.len());
        for users in users.chunks(USERS_AT_ONCE) {
            standings.extend(self.standings.run(pool, users).await?);
        }
        Ok(standings)
    }

    async fn view(&self, promo: PromoId) -> Result<RoomView, EngineError> {
        self.looking.ask(PoolId::Promo(promo), ()).await
    }

    async fn draw(&self, promo: PromoId, after: u64, limit: usize) -> Result<Vec<DrawKey>, EngineError> {
        let mut keys = Vec::new();
        while keys.len() < limit {
            let count = KEYS_AT_ONCE.min(limit - keys.len());
            let words = |_| vec![word(after + keys.len() as u64), word(count)];
            let answer = self.caller.call(&scripts::DRAW, PoolId::Promo(promo), NO_TIME, words).await?;
            let answer = with_room(PoolId::Promo(promo), answer)?;
            let found = answer.rest().len();
            for nth in 0..found {
                keys.push(DrawKey(answer.parse(nth)?));
            }
            if found < count {
                break;
            }
        }
        Ok(keys)
    }
}

impl RedisEngine {
    /// What [`WaitingRooms::join`] does for shoppers who arrive together, in this order. `None`: the room is full.
    pub async fn join_together(
        &self,
        promo: PromoId,
        joiners: &[(UserId, DrawKey, Timestamp)],
    ) -> Result<Vec<Option<Standing>>, EngineError> {
        let joiner = |&(user, key, now): &(UserId, DrawKey, Timestamp)| Joiner { promo, user, key, now };
        let joiners: Vec<Joiner> = joiners.iter().map(joiner).collect();
        self.joining.run(PoolId::Promo(promo), &joiners).await
    }

    /// Opens the room at this instant. One of the same draw that an earlier ledger left goes on, with its places.
    pub async fn open_room_at(
        &self,
        promo: PromoId,
        settings: RoomSettings,
        now: Timestamp,
    ) -> Result<(), EngineError> {
        let pool = PoolId::Promo(promo);
        let RoomSettings { draw, admission, grace_ms, max_unsettled, max_places } = settings;
        let words = |_| {
            vec![
                word(draw),
                word(admission.rate_per_s),
                word(admission.max_active),
                word(admission.pass_ttl_ms),
                word(grace_ms),
                word(max_unsettled),
                word(max_places),
            ]
        };
        let mut answer = self.caller.call(&scripts::OPEN_ROOM, pool, now, words).await?;
        let mut cursor = "0".to_owned();
        while !answer.is("open") {
            if answer.is("more") {
                cursor = answer.parse(0)?;
            }
            answer = self.caller.call(&scripts::RESUME_ROOM, pool, now, |_| vec![word(&cursor)]).await?;
            if !answer.is("open") && !answer.is("more") {
                return Err(nonsense(&answer.words.join(" ")));
            }
        }
        Ok(())
    }
}
