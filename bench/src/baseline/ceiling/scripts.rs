//! Orders reserved by the shop's own script in Redis: one order in a call, one call after the other; the same with calls
//! that do not wait for the answer to the last one; and many orders in one call.
//!
//! One connection and one promo, as all of a promo lies on one core of Redis. Every shopper holds a pass and orders once, so
//! that every order must be held; each answer is looked at, and the ledger is counted afterwards. Commands are encoded before
//! the clock starts. The shop does more for each order: it notes it under its shopper and request, too, and settles it.

mod pool;

use std::time::Instant;

use anyhow::{Context, ensure};
use clap::{Args, value_parser};
use redis::{Connection, Value};

use self::pool::Pool;
use crate::{
    baseline::timing::{Pace, Repeats, per_second},
    found::Found,
    latency::Latencies,
};

/// Calls under way at once where orders share calls: as many as the shop has for each pool.
const CALLS_AT_ONCE: usize = 2;

/// Settings of the scripts.
#[derive(Clone, Debug, Args)]
pub struct ScriptSettings {
    /// Orders in each repeat; a tenth more warms up.
    #[arg(long = "script-orders", value_name = "N", default_value_t = 20_000, value_parser = value_parser!(u32).range(1000..=1_000_000))]
    pub orders: u32,
    /// Calls under way at once, of one order each.
    #[arg(long = "script-depths", value_name = "N,…", value_delimiter = ',', default_values_t = [16, 128])]
    pub depths: Vec<usize>,
    /// Orders in one call.
    #[arg(long = "script-batches", value_name = "N,…", value_delimiter = ',', default_values_t = [64, 128, 256, 512])]
    pub batches: Vec<usize>,
}

/// How orders are put into calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    orders_per_call: usize,
    calls_at_once: usize,
}

impl ScriptSettings {
    fn cases(&self) -> Vec<(String, Case)> {
        let one = ("single".to_owned(), Case { orders_per_call: 1, calls_at_once: 1 });
        let depths = self.depths.iter().map(|&calls_at_once| {
            (format!("pipelined_{calls_at_once}"), Case { orders_per_call: 1, calls_at_once })
        });
        let batches = self.batches.iter().map(|&orders_per_call| {
            (format!("batched_{orders_per_call}"), Case { orders_per_call, calls_at_once: CALLS_AT_ONCE })
        });
        std::iter::once(one).chain(depths).chain(batches).collect()
    }
}

/// Measures every case; `script_orders_per_s` is the best of all, `script_orders_per_s_single` one order after the other.
pub async fn measure(
    url: &str,
    settings: &ScriptSettings,
    pace: Pace,
    found: &mut Found,
) -> anyhow::Result<()> {
    found.set("script_orders", settings.orders);
    let (url, settings) = (url.to_owned(), settings.clone());
    // The client waits for each answer: it must not hold up the runtime.
    let measured = tokio::task::spawn_blocking(move || measure_all(&url, &settings, pace)).await??;
    measured.into_iter().try_for_each(|case| case.note(found))?;
    Ok(())
}

/// What the repeats of one case came to.
struct Measured {
    name: String,
    repeats: Repeats,
    /// Processor time of Redis for each order, in microseconds, of each repeat.
    cpu_us: Vec<f64>,
}

impl Measured {
    fn note(self, found: &mut Found) -> anyhow::Result<()> {
        let Self { name, repeats, cpu_us } = self;
        repeats.note(found, &format!("script_orders_per_s_{name}"));
        let cpu_us = crate::found::median(&cpu_us).context("no repeats")?;
        found.note(&format!("script_redis_cpu_us_per_order_{name}"), cpu_us);
        found.latencies.insert(format!("script_call_{name}"), repeats.percentiles());
        eprintln!("scripts, {name}: {:.0} orders per second", repeats.median());
        let best = found.numbers.entry("script_orders_per_s".to_owned()).or_default();
        *best = best.max(repeats.median());
        Ok(())
    }
}

fn measure_all(url: &str, settings: &ScriptSettings, pace: Pace) -> anyhow::Result<Vec<Measured>> {
    let mut connection = pool::connect(url)?;
    let mut all = Vec::new();
    for (name, case) in settings.cases() {
        let (mut repeats, mut cpu_us) = (Repeats::default(), Vec::new());
        for _ in 0..pace.repeats {
            let once = one_repeat(&mut connection, case, settings.orders as usize)?;
            repeats.push(once.per_s, &once.latencies);
            cpu_us.push(once.cpu_us);
        }
        all.push(Measured { name, repeats, cpu_us });
    }
    Ok(all)
}

struct Once {
    per_s: f64,
    cpu_us: f64,
    latencies: Latencies,
}

fn one_repeat(connection: &mut Connection, case: Case, orders: usize) -> anyhow::Result<Once> {
    let warm_up = orders / 10;
    let pool = Pool::open(connection, warm_up + orders)?;
    let measured =
        pool.shoppers().split_at_checked(warm_up).context("too few shoppers").and_then(|(first, then)| {
            run(connection, &pool.calls(first, case.orders_per_call), case, first.len())?;
            let calls = pool.calls(then, case.orders_per_call);
            let (cpu, start) = (pool::cpu_s(connection)?, Instant::now());
            let latencies = run(connection, &calls, case, then.len())?;
            let elapsed = start.elapsed();
            let spent_us = (pool::cpu_s(connection)? - cpu) * 1e6;
            let cpu_us = spent_us / f64::from(u32::try_from(then.len())?);
            pool.check(connection, warm_up + orders)?;
            Ok(Once { per_s: per_second(then.len() as u64, elapsed), cpu_us, latencies })
        });
    pool.clear(connection)?;
    measured
}

/// Sends the calls, `calls_at_once` of them under way. Latencies are of calls, from their sending to their answer.
fn run(
    connection: &mut Connection,
    calls: &[Vec<u8>],
    case: Case,
    orders: usize,
) -> anyhow::Result<Latencies> {
    let (mut latencies, mut sent, mut held) = (Latencies::new(), Vec::with_capacity(calls.len()), 0);
    for answered in 0..calls.len() {
        // Half of them at a time, so that a call does not cost a write of its own.
        if sent.len() - answered <= case.calls_at_once / 2 {
            let next =
                calls.get(sent.len()..calls.len().min(answered + case.calls_at_once)).unwrap_or_default();
            sent.resize(sent.len() + next.len(), Instant::now());
            if !next.is_empty() {
                connection.send_packed_command(&next.concat())?;
            }
        }
        let answer = connection.recv_response()?;
        latencies.record(sent[answered].elapsed());
        held += held_in(&answer)?;
    }
    ensure!(held == orders, "{held} of {orders} orders were held");
    Ok(latencies)
}

/// Orders that this answer says are held.
fn held_in(answer: &Value) -> anyhow::Result<usize> {
    let Value::Array(words) = answer else { anyhow::bail!("the script answered {answer:?}") };
    let word = |value: &Value| redis::from_redis_value_ref::<String>(value);
    let [first, answers @ ..] = words.as_slice() else { anyhow::bail!("the script answered nothing") };
    ensure!(word(first)? == "ok", "the script answered {words:?}");
    let mut held = 0;
    for answer in answers.chunks_exact(3) {
        ensure!(word(&answer[0])? == "held", "an order was not held: {answer:?}");
        held += 1;
    }
    Ok(held)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(words: &[&str]) -> Value {
        Value::Array(words.iter().map(|word| Value::BulkString(word.as_bytes().to_vec())).collect())
    }

    #[test]
    fn only_held_orders_count() {
        assert_eq!(held_in(&answer(&["ok", "held", "", "", "held", "", ""])).unwrap(), 2);
        assert!(held_in(&answer(&["ok", "refused", "no_pass", ""])).is_err());
        assert!(held_in(&answer(&["stale", "1"])).is_err());
    }
}
