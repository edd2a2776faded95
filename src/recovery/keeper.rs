//! Watches over the ledgers, in every process: builds anew what was lost, and holds what is there against the database.
//!
//! A ledger on a server may be gone (emptied), or old (restarted from an older file, failed over to a replica that was
//! behind). The engine notices at every call and answers "not ready"; here is what makes it ready again:
//!
//! 1. wait until nothing that was reserved in the lost ledger can still be on its way into the order log,
//! 2. wait until the order writers have settled all the log holds,
//! 3. give the pool its next epoch in the database, and read under the same lock what it has sold,
//! 4. build the ledger of that epoch. A reservation of an earlier epoch that comes after all is rejected by the writer.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{RecoveryError, RecoveryLimits, knows_all, open, promo_of};
use crate::{
    admission::port::WaitingRooms,
    clock,
    domain::PoolId,
    order_log::port::OrderLog,
    reservation::port::{EngineError, Reservations, Snapshot},
    service::audit::Audit,
    store::port::{PoolRow, Store},
};

/// Without any sign of a loss, all pools are looked at in one look of so many.
const FULL_LOOK_IN: u32 = 10;
/// One process at a time builds, and one compares. Who stops doing so is replaced after this time.
const LEASE_MS: u64 = 15_000;
/// How often it is asked whether the log is drained.
const DRAIN_POLL: Duration = Duration::from_millis(50);
/// How long the log may take to be drained before the look is given up, to begin again.
const DRAIN_WITHIN: Duration = Duration::from_mins(2);
/// Pools compared with the database in one look, at most.
const MAX_COMPARED: usize = 500;

/// How a keeper works.
#[derive(Clone, Debug)]
pub struct KeeperSettings {
    /// How often it looks.
    pub period: Duration,
    /// How long units must be missing from a ledger at rest before it is built anew, in milliseconds.
    pub leak_after_ms: u64,
    /// This process among the others.
    pub node: String,
    pub limits: RecoveryLimits,
}

/// The keeper and all it works on.
pub struct Keeper {
    pub store: Arc<dyn Store>,
    pub log: Arc<dyn OrderLog>,
    pub reservations: Arc<dyn Reservations>,
    pub rooms: Arc<dyn WaitingRooms>,
    pub settings: KeeperSettings,
    /// Rung by an engine that has met a ledger that is not ready.
    pub bell: Arc<Notify>,
}

/// A ledger that disagrees with the database while nothing moves.
struct Suspect {
    since: Instant,
    version: u64,
}

impl Keeper {
    /// Looks until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut suspects = HashMap::new();
        let mut looks = 0_u32;
        while !stop.is_cancelled() {
            let rung = tokio::select! {
                () = self.bell.notified() => true,
                () = tokio::time::sleep(self.settings.period) => false,
                () = stop.cancelled() => return,
            };
            let everything = rung || looks.is_multiple_of(FULL_LOOK_IN);
            looks = looks.wrapping_add(1);
            let look = self.look(everything, &mut suspects);
            match stop.run_until_cancelled(look).await {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => {
                    tracing::warn!(%error, "the ledgers could not be looked after; it is tried again");
                }
            }
            if rung {
                // Everybody who meets the same loss rings; one look a period is enough.
                stop.run_until_cancelled(tokio::time::sleep(self.settings.period)).await;
            }
        }
    }

    async fn look(
        &self,
        everything: bool,
        suspects: &mut HashMap<PoolId, Suspect>,
    ) -> Result<(), RecoveryError> {
        if everything {
            let rows = self.store.pools().await?;
            let lost = self.lost(&rows).await?;
            if !lost.is_empty() && self.may("ledgers").await? {
                self.build_anew(lost).await?;
            }
        }
        if self.may("audit").await? {
            self.compare(suspects).await?;
        } else {
            // Another process tells now.
            for (pool, _) in suspects.drain() {
                forget_discrepancy(pool);
            }
        }
        Ok(())
    }

    /// Whether this process is the one that does it now.
    async fn may(&self, job: &str) -> Result<bool, RecoveryError> {
        Ok(self.store.lease(job, &self.settings.node, clock::now(), LEASE_MS).await?)
    }

    async fn lost(&self, rows: &[PoolRow]) -> Result<Vec<PoolRow>, EngineError> {
        let known: Vec<_> = rows.iter().map(|row| (row.pool, row.epoch)).collect();
        let lost: HashSet<PoolId> = self.reservations.lost(&known).await?.into_iter().collect();
        Ok(rows.iter().filter(|row| lost.contains(&row.pool)).copied().collect())
    }

    async fn build_anew(&self, lost: Vec<PoolRow>) -> Result<(), RecoveryError> {
        let started = Instant::now();
        tracing::warn!(pools = lost.len(), first = %lost[0].pool, "ledgers are missing; the log is drained");
        self.wait_for_appends().await?;
        self.drain_log().await?;
        let mut built = 0_u64;
        // Some may only have been slow to come: another process has published a promo just now.
        for row in self.lost(&lost).await? {
            built += u64::from(self.build(row).await?);
            self.may("ledgers").await?;
        }
        metrics::counter!("panicbuy_rebuilt_ledgers_total").increment(built);
        tracing::warn!(built, took = ?started.elapsed(), "the ledgers are built anew");
        Ok(())
    }

    /// What was reserved just before the loss is in the log after this, or never will be.
    async fn wait_for_appends(&self) -> Result<(), RecoveryError> {
        let until = Instant::now() + self.log.append_bound();
        while Instant::now() < until {
            tokio::time::sleep_until(until.min(Instant::now() + Duration::from_millis(LEASE_MS / 3))).await;
            self.may("ledgers").await?;
        }
        Ok(())
    }

    async fn drain_log(&self) -> Result<(), RecoveryError> {
        let end = self.log.end().await?;
        let mut renewed = Instant::now();
        let deadline = Instant::now() + DRAIN_WITHIN;
        while !self.log.is_settled(&end).await? {
            if Instant::now() > deadline {
                return Err(crate::order_log::port::LogError(
                    "it is not drained yet: is an order writer running?".to_owned(),
                )
                .into());
            }
            if renewed.elapsed() > Duration::from_millis(LEASE_MS / 3) {
                self.may("ledgers").await?;
                renewed = Instant::now();
            }
            tokio::time::sleep(DRAIN_POLL).await;
        }
        Ok(())
    }

    /// Builds the pool's ledger under its next epoch. `false`: another process was faster.
    async fn build(&self, row: PoolRow) -> Result<bool, RecoveryError> {
        let limits = self.settings.limits;
        let promo = promo_of(self.store.as_ref(), row.pool).await?;
        let everything = knows_all(promo.as_ref());
        let next = self.store.next_epoch(row.pool, row.epoch, everything, limits.requests_since()).await?;
        let Some((row, orders)) = next else { return Ok(false) };
        open(row, promo.as_ref(), orders, self.reservations.as_ref(), self.rooms.as_ref(), limits).await?;
        tracing::info!(pool = %row.pool, epoch = %row.epoch, sold = row.sold, "a ledger was built from the database");
        Ok(true)
    }

    /// Holds the ledgers of promos that sell, and of their items, against the database. Reports what disagrees, and
    /// builds anew what has lost units and only that: a ledger that offers fewer than there are.
    async fn compare(&self, suspects: &mut HashMap<PoolId, Suspect>) -> Result<(), RecoveryError> {
        let live = self.store.live_promos().await?;
        let pools: HashSet<PoolId> =
            live.iter().flat_map(|promo| [PoolId::Promo(promo.id), PoolId::Item(promo.item_id)]).collect();
        suspects.retain(|pool, _| {
            let compared = pools.contains(pool);
            if !compared {
                forget_discrepancy(*pool);
            }
            compared
        });
        for pool in pools.into_iter().take(MAX_COMPARED) {
            let Some(audit) = self.audit(pool).await? else { continue };
            let missing = missing_units(&audit);
            metrics::gauge!("panicbuy_pool_discrepancy_units", "pool" => pool.to_string()).set(if audit.ok {
                0.0
            } else {
                f64::from(missing)
            });
            if audit.ok {
                suspects.remove(&pool);
                continue;
            }
            let version = audit.ledger.version;
            let suspect = suspects.entry(pool).or_insert(Suspect { since: Instant::now(), version });
            if suspect.version != version || audit.ledger.pending > 0 {
                *suspect = Suspect { since: Instant::now(), version };
                continue;
            }
            tracing::error!(%pool, missing, ledger = ?audit.ledger, database = ?audit.database, "the ledger disagrees with the database");
            let long_enough = suspect.since.elapsed() > Duration::from_millis(self.settings.leak_after_ms);
            if missing > 0 && long_enough && self.may("ledgers").await? {
                self.drain_log().await?;
                self.build(audit.database).await?;
                metrics::counter!("panicbuy_repaired_leaks_total").increment(1);
                suspects.remove(&pool);
            }
        }
        Ok(())
    }

    /// `None`: the pool is not ready, or gone.
    async fn audit(&self, pool: PoolId) -> Result<Option<Audit>, RecoveryError> {
        let Some(before) = self.snapshot(pool).await? else { return Ok(None) };
        let Some(books) = self.store.books(pool).await? else { return Ok(None) };
        let Some(after) = self.snapshot(pool).await? else { return Ok(None) };
        Ok(Some(Audit::new(&before, &books, after)))
    }

    async fn snapshot(&self, pool: PoolId) -> Result<Option<Snapshot>, EngineError> {
        match self.reservations.snapshot(pool).await {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(EngineError::NotReady(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A promo that sells no more is not compared; its metric must not stay where it was.
fn forget_discrepancy(pool: PoolId) {
    metrics::gauge!("panicbuy_pool_discrepancy_units", "pool" => pool.to_string()).set(0.0);
}

/// Units that the database has unsold and the ledger does not offer; negative if it offers more than there are.
fn missing_units(audit: &Audit) -> i32 {
    let unsold = i64::from(audit.database.initial) - i64::from(audit.database.sold);
    let offered = i64::from(audit.ledger.available) + i64::from(audit.ledger.pending);
    i32::try_from(unsold - offered).unwrap_or(i32::MAX)
}
