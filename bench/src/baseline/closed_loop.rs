//! A closed loop: each worker begins its next piece of work when the last one is done. It finds what a server can do, not
//! what a shopper who comes at a time of their own would wait.

use std::time::Instant;

use tokio::task::JoinSet;

use super::timing::{Pace, per_second};
use crate::latency::Latencies;

/// One connection and what is done over it.
pub trait Worker: Send + 'static {
    /// Does one piece of work; how many units of work it was.
    fn work(&mut self) -> impl Future<Output = anyhow::Result<u64>> + Send;
}

/// What one repeat came to.
#[derive(Debug, Default)]
pub struct Measured {
    /// Units per second of all workers together, each counted over its own whole pieces of work.
    pub per_s: f64,
    /// Of single pieces of work.
    pub latencies: Latencies,
}

/// Runs the workers side by side: the warm-up first, then what is counted. An error of one ends it all.
pub async fn run<W: Worker>(workers: Vec<W>, pace: Pace) -> anyhow::Result<Measured> {
    let mut running: JoinSet<anyhow::Result<Measured>> =
        workers.into_iter().map(|worker| one(worker, pace)).collect();
    let mut all = Measured::default();
    while let Some(measured) = running.join_next().await {
        let measured = measured??;
        all.per_s += measured.per_s;
        all.latencies.merge(&measured.latencies);
    }
    Ok(all)
}

async fn one<W: Worker>(mut worker: W, pace: Pace) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    while begun.elapsed() < pace.warm_up() {
        worker.work().await?;
    }
    let (counted_from, mut units, mut latencies) = (Instant::now(), 0, Latencies::default());
    while counted_from.elapsed() < pace.duration() {
        let start = Instant::now();
        units += worker.work().await?;
        latencies.record(start.elapsed());
    }
    Ok(Measured { per_s: per_second(units, counted_from.elapsed()), latencies })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sleeper;

    impl Worker for Sleeper {
        async fn work(&mut self) -> anyhow::Result<u64> {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            Ok(2)
        }
    }

    struct Broken;

    impl Worker for Broken {
        async fn work(&mut self) -> anyhow::Result<u64> {
            anyhow::bail!("broken")
        }
    }

    const PACE: Pace = Pace { warm_up: 0, duration: 1, repeats: 1 };

    #[tokio::test]
    async fn workers_add_up() {
        let measured = run(vec![Sleeper, Sleeper], PACE).await.unwrap();
        // 10 ms at least for each piece: never more than 2 × 2 units in it.
        assert!(measured.per_s > 0.0 && measured.per_s <= 400.0, "{}", measured.per_s);
        assert!(measured.latencies.percentiles().min_ms >= 10.0);
        assert!(measured.latencies.count() >= 2);
    }

    #[tokio::test]
    async fn an_error_ends_it() {
        assert!(run(vec![Broken], PACE).await.is_err());
    }
}
