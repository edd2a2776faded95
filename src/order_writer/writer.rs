//! Reads the log in batches and settles every record in it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fail::fail_point;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    domain::{OrderId, OrderStatus, PoolId, Reason, Verdict},
    order_log::port::{Entry, LogError, OrderLogReader, Poison, Position},
    order_log::record,
    reservation::port::{EngineError, Reservation, Reservations, Settled},
    store::port::{OrderStore, StoreError, Written},
};

/// How the writer works.
#[derive(Clone, Copy, Debug)]
pub struct WriterSettings {
    /// Records in one transaction, at most.
    pub batch_max: u32,
    /// How long one look at an empty log waits.
    pub idle_wait: Duration,
    /// The first pause after a failure; doubles up to `retry_max`.
    pub retry_min: Duration,
    pub retry_max: Duration,
    /// Whether the log is emptied before the end, for nobody else would.
    pub drain_at_stop: bool,
}

/// The writer and all it works on.
pub struct OrderWriter {
    reader: Box<dyn OrderLogReader>,
    store: Arc<dyn OrderStore>,
    reservations: Arc<dyn Reservations>,
    settings: WriterSettings,
    /// When the backlog was told last.
    lag_told: Option<Instant>,
}

/// How often the backlog is told.
const LAG_EVERY: Duration = Duration::from_secs(1);

/// One step on a batch failed for now; the batch is tried again.
#[derive(Debug, thiserror::Error)]
enum StepError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The verdicts of a batch, by pool.
type Verdicts = BTreeMap<PoolId, Vec<(OrderId, Verdict)>>;

impl OrderWriter {
    pub fn new(
        reader: Box<dyn OrderLogReader>,
        store: Arc<dyn OrderStore>,
        reservations: Arc<dyn Reservations>,
        settings: WriterSettings,
    ) -> Self {
        Self { reader, store, reservations, settings, lag_told: None }
    }

    /// Writes whatever the log still holds before any ledger exists: ledgers are built from the database afterwards.
    pub async fn drain_before_start(&mut self) -> anyhow::Result<u64> {
        let mut records = 0;
        loop {
            let batch = self.reader.read(self.settings.batch_max, Duration::ZERO).await?;
            if batch.is_empty() {
                return Ok(records);
            }
            records += batch.len() as u64;
            self.write(&batch).await?;
            self.reader.commit(&positions(&batch)).await?;
        }
    }

    /// Runs until `stop`, then finishes its batch, or the whole log if it is to drain it, or until `give_up`.
    pub async fn run(mut self, stop: CancellationToken, give_up: CancellationToken) {
        while !give_up.is_cancelled() {
            let idle_wait = if stop.is_cancelled() { Duration::ZERO } else { self.settings.idle_wait };
            let read = tokio::select! {
                read = self.reader.read(self.settings.batch_max, idle_wait) => read,
                () = stop.cancelled(), if !stop.is_cancelled() => continue,
            };
            match read {
                Ok(batch) if batch.is_empty() && stop.is_cancelled() => return,
                Ok(batch) => {
                    self.settle_batch(&batch, &give_up).await;
                    self.tell_lag().await;
                    if stop.is_cancelled() && !self.settings.drain_at_stop {
                        return;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the order log could not be read");
                    give_up.run_until_cancelled(tokio::time::sleep(self.settings.retry_max)).await;
                }
            }
        }
    }

    /// Settles a batch, trying again for as long as it takes: a later batch must not overtake it.
    async fn settle_batch(&mut self, batch: &[Entry], give_up: &CancellationToken) {
        let mut pause = self.settings.retry_min;
        while !batch.is_empty() {
            let started = Instant::now();
            match self.try_batch(batch).await {
                Ok(()) => {
                    record_batch(batch.len(), started);
                    return;
                }
                Err(error) => {
                    tracing::error!(%error, records = batch.len(), "a batch of orders failed and is tried again");
                    metrics::counter!("panicbuy_batch_failures_total").increment(1);
                }
            }
            if give_up.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            pause = (pause * 2).min(self.settings.retry_max);
        }
    }

    async fn try_batch(&mut self, batch: &[Entry]) -> Result<(), StepError> {
        let verdicts = self.write(batch).await?;
        fail_point!("writer.committed", |_| std::process::abort());
        for (pool, verdicts) in verdicts {
            record_settled(&self.settle(pool, &verdicts).await?);
        }
        fail_point!("writer.settled", |_| std::process::abort());
        self.reader.commit(&positions(batch)).await?;
        fail_point!("writer.offset_committed", |_| std::process::abort());
        Ok(())
    }

    /// Tells how much waits in the log, now and then: asking may cost a round trip.
    async fn tell_lag(&mut self) {
        if self.lag_told.is_some_and(|told| told.elapsed() < LAG_EVERY) {
            return;
        }
        self.lag_told = Some(Instant::now());
        if let Ok(lag) = self.reader.lag().await {
            metrics::gauge!("panicbuy_log_lag_records")
                .set(f64::from(u32::try_from(lag).unwrap_or(u32::MAX)));
        }
    }

    /// Writes a batch to the database and buries what can never succeed.
    async fn write(&mut self, batch: &[Entry]) -> Result<Verdicts, StepError> {
        let mut verdicts = Verdicts::new();
        let mut records = Vec::with_capacity(batch.len());
        for entry in batch {
            match &entry.record {
                Ok(reservation) => records.push((entry.position, reservation.clone())),
                Err(poison) => self.bury(entry.position, poison, &mut verdicts).await?,
            }
        }
        let (positions, reservations): (Vec<Position>, Vec<Reservation>) = records.into_iter().unzip();
        let written = self.write_records(&reservations).await?;
        for ((position, reservation), written) in positions.iter().zip(&reservations).zip(written) {
            match written {
                Written::Verdict(verdict) => {
                    verdicts.entry(reservation.pool).or_default().push((reservation.order_id, verdict));
                }
                Written::Impossible(reason) => {
                    let poison = Poison {
                        payload: record::encode(reservation),
                        reason: reason.to_owned(),
                        order: Some((reservation.pool, reservation.order_id)),
                    };
                    self.bury(*position, &poison, &mut verdicts).await?;
                }
            }
        }
        Ok(verdicts)
    }

    /// Writes the records in one transaction. When the database calls them impossible as a whole, each is written alone,
    /// so that one bad record does not hold up the others.
    async fn write_records(&self, reservations: &[Reservation]) -> Result<Vec<Written>, StoreError> {
        if reservations.is_empty() {
            return Ok(Vec::new());
        }
        match self.store.write_batch(reservations, clock::now()).await {
            Err(error) if error.is_permanent() => {
                tracing::warn!(%error, "a batch was refused as a whole; its records are written one by one");
            }
            answer => return answer,
        }
        let mut written = Vec::with_capacity(reservations.len());
        for reservation in reservations {
            let alone = self.store.write_batch(std::slice::from_ref(reservation), clock::now()).await;
            written.push(match alone {
                Ok(answers) => answers.into_iter().next().unwrap_or(Written::Impossible("no answer")),
                Err(error) if error.is_permanent() => Written::Impossible("the database refused the record"),
                Err(error) => return Err(error),
            });
        }
        Ok(written)
    }

    async fn bury(
        &mut self,
        position: Position,
        poison: &Poison,
        verdicts: &mut Verdicts,
    ) -> Result<(), LogError> {
        tracing::error!(%position, reason = %poison.reason, "a record went to the dead letters");
        metrics::counter!("panicbuy_dead_letters_total").increment(1);
        self.reader.bury(position, poison, clock::now()).await?;
        if let Some((pool, order)) = poison.order {
            let rejected = Verdict::Void { reason: Reason::BadRequest };
            verdicts.entry(pool).or_default().push((order, rejected));
        }
        Ok(())
    }

    async fn settle(
        &self,
        pool: PoolId,
        verdicts: &[(OrderId, Verdict)],
    ) -> Result<Vec<Settled>, EngineError> {
        match self.reservations.settle(pool, verdicts).await {
            // A pool that is not ready is rebuilt from the database, which has these verdicts already.
            Err(EngineError::NotReady(pool)) => {
                tracing::warn!(%pool, "verdicts for a pool that is not ready were left to its recovery");
                Ok(Vec::new())
            }
            answer => answer,
        }
    }
}

fn positions(batch: &[Entry]) -> Vec<Position> {
    batch.iter().map(|entry| entry.position).collect()
}

/// Counts what has just been settled.
fn record_settled(settled: &[Settled]) {
    let now = clock::now();
    for Settled { reservation, verdict, .. } in settled {
        let waited_ms = now.since(reservation.reserved_at);
        metrics::histogram!("panicbuy_settle_seconds").record(Duration::from_millis(waited_ms));
        let status = match verdict {
            Verdict::Posted { .. } => OrderStatus::AwaitingPayment,
            Verdict::Void { .. } => OrderStatus::Rejected,
        };
        metrics::counter!("panicbuy_outcomes_total", "status" => status.as_str()).increment(1);
    }
}

fn record_batch(records: usize, started: Instant) {
    metrics::histogram!("panicbuy_batch_records")
        .record(f64::from(u32::try_from(records).unwrap_or(u32::MAX)));
    metrics::histogram!("panicbuy_batch_seconds").record(started.elapsed());
}
