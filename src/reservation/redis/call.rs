//! One call of one script on one pool: keys, common arguments, the fence, and what to do about a lost answer.

use std::sync::Arc;

use fred::types::Value;

use super::{super::port::EngineError, epochs::Epochs};
use crate::{
    domain::{Epoch, PoolId, Timestamp, UserId},
    redis::{Redis, RedisError, Script},
    results::redis::Followed,
};

/// The keys of a pool in the order in which `scripts/prelude.lua` names them.
const KEYS: [&str; 17] = [
    "ledger",
    "pending",
    "held",
    "unlogged",
    "deferred",
    "posted",
    "live",
    "last",
    "requests",
    "request_ages",
    "room",
    "line",
    "places",
    "returned",
    "passes",
    "expiry",
    "events",
];

/// For scripts that do not look at the time.
pub(super) const NO_TIME: Timestamp = Timestamp::from_millis(0);

/// What a script answered.
pub(super) struct Answer {
    /// The epoch of the ledger that answered.
    pub(super) epoch: Epoch,
    /// Its first word says how it went; `stale` is dealt with here.
    pub(super) words: Vec<String>,
}

impl Answer {
    pub(super) fn is(&self, word: &str) -> bool {
        self.words.first().is_some_and(|first| first == word)
    }

    /// What follows the first word.
    pub(super) fn rest(&self) -> &[String] {
        self.words.get(1..).unwrap_or_default()
    }

    /// The n-th word after the first as a number or another type.
    pub(super) fn parse<T: std::str::FromStr>(&self, nth: usize) -> Result<T, EngineError> {
        let word = self.rest().get(nth).map(String::as_str).unwrap_or_default();
        word.parse().map_err(|_| nonsense(word))
    }
}

/// An answer that no version of the scripts gives.
pub(super) fn nonsense(answer: &str) -> EngineError {
    EngineError::Unsure(format!("Redis answered something unexpected: {answer:?}"))
}

/// How scripts write a user: sorts like the number.
pub(super) fn user_word(user: UserId) -> String {
    format!("{:019}", user.0)
}

pub(super) fn flag(flag: bool) -> Value {
    Value::from(if flag { "1" } else { "0" })
}

/// A number or an id as an argument.
#[expect(clippy::needless_pass_by_value, reason = "numbers and ids are copied as they come")]
pub(super) fn word(word: impl ToString) -> Value {
    Value::from(word.to_string())
}

/// What every call needs.
pub(super) struct Caller {
    pub(super) redis: Redis,
    pub(super) epochs: Epochs,
    /// Where this process says which promos it acts on, so that lost news of them is noticed.
    pub(super) followed: Option<Arc<Followed>>,
}

impl Caller {
    /// Runs a script on the pool's ledger, under the epoch that this process knows or else the one that the source has.
    /// `own`: the script's own arguments, of a ledger of that epoch. The script must do nothing when it runs once more.
    pub(super) async fn call(
        &self,
        script: &Script,
        pool: PoolId,
        now: Timestamp,
        own: impl Fn(Epoch) -> Vec<Value> + Send + Sync,
    ) -> Result<Answer, EngineError> {
        if let (Some(followed), Some(_)) = (&self.followed, pool.promo()) {
            followed.follow(pool);
        }
        let epoch = self.epochs.of(pool).await?;
        let answer = self.run(script, pool, epoch, now, own(epoch)).await?;
        if !answer.is("stale") {
            return Ok(answer);
        }
        let epoch = self.epochs.instead_of(pool, epoch).await?;
        let answer = self.run(script, pool, epoch, now, own(epoch)).await?;
        if answer.is("stale") {
            return Err(self.epochs.not_ready(pool));
        }
        Ok(answer)
    }

    /// Runs a script that does nothing when it runs once more: after a lost answer it is sent again, once.
    pub(super) async fn run(
        &self,
        script: &Script,
        pool: PoolId,
        epoch: Epoch,
        now: Timestamp,
        own: Vec<Value>,
    ) -> Result<Answer, EngineError> {
        match self.send(script, pool, epoch, now, own.clone()).await {
            Err(RedisError::Lost(_) | RedisError::TimedOut) => {}
            answer => return Ok(answer?),
        }
        tracing::debug!(%pool, script = script.name(), "an answer was lost, and is asked for again");
        Ok(self.send(script, pool, epoch, now, own).await?)
    }

    /// Runs a script once.
    pub(super) async fn send(
        &self,
        script: &Script,
        pool: PoolId,
        epoch: Epoch,
        now: Timestamp,
        own: Vec<Value>,
    ) -> Result<Answer, RedisError> {
        let keys = KEYS.iter().map(|name| self.redis.key(pool, name)).collect();
        let mut args = vec![word(epoch), word(now.as_millis()), Value::from(self.redis.node())];
        args.extend(own);
        let value = self.redis.run(script, keys, args).await?;
        let words = value.convert().map_err(|error| RedisError::Unexpected(error.to_string()))?;
        Ok(Answer { epoch, words })
    }
}

impl From<RedisError> for EngineError {
    fn from(error: RedisError) -> Self {
        if error.may_have_happened() {
            Self::Unsure(error.to_string())
        } else {
            Self::Unavailable(error.to_string())
        }
    }
}
