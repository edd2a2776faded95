//! Building a ledger, in steps that are each short.

use fred::types::Value;

use super::{
    super::port::{EngineError, Gate, Opening},
    RedisEngine,
    call::{Answer, NO_TIME, flag, nonsense, word},
    scripts, wire,
};
use crate::{domain::PoolId, random};

/// Orders loaded in one call, each with several commands.
const ORDERS_AT_ONCE: usize = 150;

impl RedisEngine {
    pub(super) async fn build(&self, pool: PoolId, opening: &Opening) -> Result<(), EngineError> {
        let (caller, epoch) = (&self.caller, opening.epoch);
        let builder = random::uuid().simple().to_string();
        let words = begin_words(&builder, opening, self.request_memory_ms);
        let begun = caller.run(&scripts::OPEN_BEGIN, pool, epoch, NO_TIME, words).await?;
        match begun.words.first().map(String::as_str) {
            Some("begun") => {}
            Some("complete") => {
                self.caller.epochs.learn(pool, epoch).await;
                return Ok(());
            }
            Some("later") => {
                tracing::info!(%pool, %epoch, "a later ledger is there already, and stays");
                return Ok(());
            }
            _ => return Err(nonsense(&begun.words.join(" "))),
        }
        for orders in opening.orders.chunks(ORDERS_AT_ONCE) {
            let requests = orders.iter().map(|order| (order.user_id, order.request_id, order.order_id));
            self.index.note(pool, requests, false).await?;
            let own = std::iter::once(word(&builder)).chain(orders.iter().flat_map(wire::opening_words));
            // Counting twice would be wrong, so a lost answer ends this attempt to build.
            let loaded = caller.send(&scripts::OPEN_LOAD, pool, epoch, NO_TIME, own.collect()).await?;
            self.unless_superseded(pool, &loaded)?;
        }
        let finish = vec![word(&builder)];
        let finished = caller.send(&scripts::OPEN_FINISH, pool, epoch, NO_TIME, finish).await?;
        self.unless_superseded(pool, &finished)?;
        self.caller.epochs.learn(pool, epoch).await;
        Ok(())
    }

    fn unless_superseded(&self, pool: PoolId, answer: &Answer) -> Result<(), EngineError> {
        if answer.is("ok") {
            return Ok(());
        }
        tracing::info!(%pool, "another builds the same ledger");
        Err(self.caller.epochs.not_ready(pool))
    }
}

fn begin_words(builder: &str, opening: &Opening, request_memory_ms: u64) -> Vec<Value> {
    let mut words = vec![
        word(builder),
        word(opening.initial),
        word(opening.sold),
        opening.per_user_limit.map_or_else(|| word(""), word),
    ];
    words.extend(opening.gate.map_or_else(no_gate, gate_words));
    words.push(word(request_memory_ms));
    words
}

fn no_gate() -> [Value; 4] {
    [word(""), word(""), flag(false), flag(false)]
}

pub(super) fn gate_words(gate: Gate) -> [Value; 4] {
    [word(gate.starts_at.as_millis()), word(gate.ends_at.as_millis()), flag(gate.paused), flag(gate.ended)]
}
