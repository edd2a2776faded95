//! Reads the log in batches and settles every record in it.

use std::{collections::BTreeMap, fmt::Display, sync::Arc, time::Duration};

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

/// Batches begin no closer to each other, so that a writer that keeps up does not write each order by itself.
const BATCH_EVERY: Duration = Duration::from_millis(8);

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

    /// Runs until `stop`, then finishes its batches, or the whole log if it is to drain it, or until `give_up`.
    pub async fn run(mut self, stop: CancellationToken, give_up: CancellationToken) {
        let mut unsettled = None;
        let mut began = Instant::now();
        while !give_up.is_cancelled() {
            if !stop.is_cancelled() && began.elapsed() < BATCH_EVERY {
                // There is time, so what is written does not wait for the next batch to be settled.
                unsettled = self.write_and_settle(&[], unsettled, &give_up).await;
                stop.run_until_cancelled(tokio::time::sleep_until(began + BATCH_EVERY)).await;
            }
            // What is written is settled at once: only a writer with nothing to do waits for more.
            let is_idle = unsettled.is_none() && !stop.is_cancelled();
            let idle_wait = if is_idle { self.settings.idle_wait } else { Duration::ZERO };
            let read = tokio::select! {
                read = self.reader.read(self.settings.batch_max, idle_wait) => read,
                () = stop.cancelled(), if !stop.is_cancelled() => continue,
            };
            let is_readable = read.is_ok();
            let batch = read.unwrap_or_else(|error| {
                tracing::error!(%error, "the order log could not be read");
                Vec::new()
            });
            if !batch.is_empty() {
                began = Instant::now();
            }
            let is_last = stop.is_cancelled() && (batch.is_empty() || !self.settings.drain_at_stop);
            unsettled = self.write_and_settle(&batch, unsettled, &give_up).await;
            if is_last {
                self.write_and_settle(&[], unsettled, &give_up).await;
                return;
            }
            self.tell_lag().await;
            if !is_readable {
                give_up.run_until_cancelled(tokio::time::sleep(self.settings.retry_max)).await;
            }
        }
    }

    /// Writes a batch while the one before it is settled, so that the database does not wait for the ledger. Returns what
    /// is to be settled next.
    async fn write_and_settle(
        &mut self,
        batch: &[Entry],
        before: Option<WrittenBatch>,
        give_up: &CancellationToken,
    ) -> Option<WrittenBatch> {
        let reservations = Arc::clone(&self.reservations);
        let settling = settle(&*reservations, before.as_ref(), Retries::new(self.settings), give_up);
        let (is_settled, written) = tokio::join!(settling, self.write_batch(batch, give_up));
        if let Some(before) = before.filter(|_| is_settled) {
            self.commit(&before, give_up).await;
        }
        written
    }

    /// Writes a batch, trying again for as long as it takes: a later one must not overtake it.
    async fn write_batch(&mut self, batch: &[Entry], give_up: &CancellationToken) -> Option<WrittenBatch> {
        if batch.is_empty() {
            return None;
        }
        let started = Instant::now();
        let mut retries = Retries::new(self.settings);
        loop {
            match self.write(batch).await {
                Ok(verdicts) => {
                    fail_point!("writer.committed", |_| std::process::abort());
                    return Some(WrittenBatch { positions: positions(batch), verdicts, started });
                }
                Err(error) if retries.again(&error, give_up).await => {}
                Err(_) => return None,
            }
        }
    }

    /// Commits the batch's place in the log.
    async fn commit(&mut self, batch: &WrittenBatch, give_up: &CancellationToken) {
        let mut retries = Retries::new(self.settings);
        while let Err(error) = self.reader.commit(&batch.positions).await {
            if !retries.again(&error, give_up).await {
                return;
            }
        }
        fail_point!("writer.offset_committed", |_| std::process::abort());
        record_batch(batch.positions.len(), batch.started);
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
}

/// A batch that is in the database, while the ledger does not know its verdicts.
struct WrittenBatch {
    positions: Vec<Position>,
    verdicts: Verdicts,
    started: Instant,
}

/// The pauses between tries of one step.
struct Retries {
    pause: Duration,
    pause_max: Duration,
}

impl Retries {
    fn new(settings: WriterSettings) -> Self {
        Self { pause: settings.retry_min, pause_max: settings.retry_max }
    }

    /// Tells of the failure and waits until it is time for another try. False: it is time to give up.
    async fn again(&mut self, error: &(impl Display + Sync), give_up: &CancellationToken) -> bool {
        tracing::error!(%error, "a step on a batch of orders failed and is tried again");
        metrics::counter!("panicbuy_batch_failures_total").increment(1);
        let waited = give_up.run_until_cancelled(tokio::time::sleep(self.pause)).await.is_some();
        self.pause = (self.pause * 2).min(self.pause_max);
        waited
    }
}

/// Tells the ledger the verdicts of a batch, trying again for as long as it takes. Whether it knows all of them now.
async fn settle(
    reservations: &dyn Reservations,
    batch: Option<&WrittenBatch>,
    mut retries: Retries,
    give_up: &CancellationToken,
) -> bool {
    let Some(batch) = batch else { return false };
    for (pool, verdicts) in &batch.verdicts {
        loop {
            match reservations.settle(*pool, verdicts).await {
                Ok(settled) => record_settled(&settled),
                // A pool that is not ready is rebuilt from the database, which has these verdicts already.
                Err(EngineError::NotReady(pool)) => {
                    tracing::warn!(%pool, "verdicts for a pool that is not ready were left to its recovery");
                }
                Err(error) if retries.again(&error, give_up).await => continue,
                Err(_) => return false,
            }
            break;
        }
    }
    fail_point!("writer.settled", |_| std::process::abort());
    true
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
