//! The embedded order log: a table in the shop's SQLite file, committed in groups.
//!
//! Appends that arrive while a commit is under way share the next one, so the cost of making an order durable falls as
//! the load rises. Settled records are deleted: the orders themselves are in the store by then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fail::fail_point;
use sqlx::{Row, SqlitePool};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};

use crate::{domain::Timestamp, reservation::port::Reservation};

use super::{
    port::{Entry, LogEnd, LogError, OrderLog, OrderLogReader, Poison, Position},
    record,
};

/// The one reader of the log.
const CONSUMER: &str = "order_writer";

/// The log's one partition.
const PARTITION: i32 = 0;

/// How long an append may wait for its commit. Generous: a commit that takes so long is stuck, and dies with the process.
const APPEND_BOUND: Duration = Duration::from_mins(1);

/// Records in one commit, at most.
const GROUP_MAX: usize = 1024;

/// How often a log that is not well is tried.
const PROBE_EVERY: Duration = Duration::from_millis(500);

impl From<sqlx::Error> for LogError {
    fn from(error: sqlx::Error) -> Self {
        Self(error.to_string())
    }
}

/// The appending end.
#[derive(Debug)]
pub struct SqliteOrderLog {
    queue: mpsc::Sender<Append>,
    appended: Arc<Notify>,
    well: Arc<AtomicBool>,
    pools: Pools,
}

/// The file's connections: one that writes, some that read.
#[derive(Clone, Debug)]
struct Pools {
    writer: SqlitePool,
    reader: SqlitePool,
}

#[derive(Debug)]
struct Append {
    row: serde_json::Value,
    done: oneshot::Sender<Result<(), LogError>>,
}

impl SqliteOrderLog {
    /// `queue_max`: appends that may wait for their commit; more wait for a free slot.
    pub fn start(writer: SqlitePool, reader: SqlitePool, queue_max: usize) -> Self {
        let (queue, appends) = mpsc::channel(queue_max);
        let appended = Arc::new(Notify::new());
        let well = Arc::new(AtomicBool::new(true));
        let committer = Committer {
            writer: writer.clone(),
            appends,
            appended: Arc::clone(&appended),
            well: Arc::clone(&well),
        };
        tokio::spawn(committer.run());
        Self { queue, appended, well, pools: Pools { writer, reader } }
    }

    /// The reading end.
    pub async fn reader(&self) -> Result<SqliteOrderLogReader, LogError> {
        let committed = committed(&self.pools.reader).await?;
        Ok(SqliteOrderLogReader {
            pools: self.pools.clone(),
            appended: Arc::clone(&self.appended),
            read: committed,
            committed,
        })
    }
}

#[async_trait]
impl OrderLog for SqliteOrderLog {
    async fn append(&self, reservation: &Reservation) -> Result<(), LogError> {
        let row = serde_json::json!([reservation.pool, record::encode(reservation)]);
        let (done, answer) = oneshot::channel();
        let closed = || LogError("the log is closed".to_owned());
        let started = Instant::now();
        self.queue.send(Append { row, done }).await.map_err(|_| closed())?;
        answer.await.map_err(|_| closed())??;
        metrics::histogram!("panicbuy_log_append_seconds").record(started.elapsed());
        Ok(())
    }

    fn is_well(&self) -> bool {
        self.well.load(Ordering::Relaxed)
    }

    fn append_bound(&self) -> Duration {
        APPEND_BOUND
    }

    async fn end(&self) -> Result<LogEnd, LogError> {
        let last: Option<i64> =
            sqlx::query_scalar("SELECT max(position) FROM order_log").fetch_one(&self.pools.reader).await?;
        Ok(LogEnd(last.map(|offset| Position { partition: PARTITION, offset }).into_iter().collect()))
    }

    async fn is_settled(&self, end: &LogEnd) -> Result<bool, LogError> {
        let committed = committed(&self.pools.reader).await?;
        Ok(end.0.iter().all(|last| last.offset <= committed))
    }

    async fn lag(&self) -> Result<u64, LogError> {
        unsettled(&self.pools.reader, committed(&self.pools.reader).await?).await
    }
}

/// Everything up to here is settled.
async fn committed(reader: &SqlitePool) -> Result<i64, LogError> {
    let committed: Option<i64> =
        sqlx::query_scalar("SELECT position FROM order_log_commit WHERE consumer = ?")
            .bind(CONSUMER)
            .fetch_optional(reader)
            .await?;
    Ok(committed.unwrap_or(0))
}

/// Records behind `committed`.
async fn unsettled(reader: &SqlitePool, committed: i64) -> Result<u64, LogError> {
    let unsettled: i64 = sqlx::query_scalar("SELECT count(*) FROM order_log WHERE position > ?")
        .bind(committed)
        .fetch_one(reader)
        .await?;
    Ok(u64::try_from(unsettled).unwrap_or(0))
}

/// The task that commits.
struct Committer {
    writer: SqlitePool,
    appends: mpsc::Receiver<Append>,
    appended: Arc<Notify>,
    well: Arc<AtomicBool>,
}

impl Committer {
    /// Commits whatever has queued up, group after group, until the log is dropped.
    async fn run(mut self) {
        let mut group = Vec::new();
        loop {
            let received = self.appends.recv_many(&mut group, GROUP_MAX);
            let received = if self.well.load(Ordering::Relaxed) {
                received.await
            } else if let Ok(received) = tokio::time::timeout(PROBE_EVERY, received).await {
                received
            } else {
                // Nobody orders from a log that is not well, so it finds out by itself.
                self.well.store(probe(&self.writer).await.is_ok(), Ordering::Relaxed);
                continue;
            };
            if received == 0 {
                return;
            }
            self.commit(group.drain(..)).await;
        }
    }

    async fn commit(&self, group: impl ExactSizeIterator<Item = Append>) {
        metrics::histogram!("panicbuy_log_group_records").record(count(group.len()));
        let (rows, waiting): (Vec<_>, Vec<_>) = group.map(|append| (append.row, append.done)).unzip();
        let committed = insert(&self.writer, &serde_json::Value::Array(rows)).await.map_err(LogError::from);
        self.well.store(committed.is_ok(), Ordering::Relaxed);
        if let Err(error) = &committed {
            tracing::error!(%error, records = waiting.len(), "orders could not be logged");
        }
        for done in waiting {
            let answer = committed.as_ref().map_err(|error| LogError(error.0.clone())).copied();
            // Who no longer waits has its order relayed, or repeats its request.
            let _ = done.send(answer);
        }
        self.appended.notify_one();
    }
}

/// A write that changes nothing.
async fn probe(writer: &SqlitePool) -> Result<(), sqlx::Error> {
    fail_point!("log.insert", |_| Err(sqlx::Error::WorkerCrashed));
    sqlx::query("UPDATE order_log_commit SET position = position").execute(writer).await?;
    Ok(())
}

async fn insert(writer: &SqlitePool, rows: &serde_json::Value) -> Result<(), sqlx::Error> {
    fail_point!("log.insert", |_| Err(sqlx::Error::WorkerCrashed));
    sqlx::query("INSERT INTO order_log (pool_id, payload) SELECT value ->> 0, value ->> 1 FROM json_each(?)")
        .bind(rows.to_string())
        .execute(writer)
        .await?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a histogram takes doubles")]
fn count(records: usize) -> f64 {
    records as f64
}

/// The reading end.
#[derive(Debug)]
pub struct SqliteOrderLogReader {
    pools: Pools,
    appended: Arc<Notify>,
    /// Everything up to here was handed out.
    read: i64,
    /// Everything up to here is settled.
    committed: i64,
}

impl SqliteOrderLogReader {
    async fn next(&mut self, limit: u32) -> Result<Vec<Entry>, LogError> {
        let rows = sqlx::query(
            "SELECT position, payload FROM order_log WHERE position > ? ORDER BY position LIMIT ?",
        )
        .bind(self.read)
        .bind(limit)
        .fetch_all(&self.pools.reader)
        .await?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in rows {
            let payload: String = row.try_get("payload")?;
            let position = Position { partition: PARTITION, offset: row.try_get("position")? };
            entries.push(Entry { position, record: record::decode(&payload) });
        }
        if let Some(last) = entries.last() {
            self.read = last.position.offset;
        }
        Ok(entries)
    }
}

#[async_trait]
impl OrderLogReader for SqliteOrderLogReader {
    async fn read(&mut self, limit: u32, wait: Duration) -> Result<Vec<Entry>, LogError> {
        let entries = self.next(limit).await?;
        if !entries.is_empty() {
            return Ok(entries);
        }
        // A notification may be about records read already; then the caller comes again.
        let _ = tokio::time::timeout(wait, self.appended.notified()).await;
        self.next(limit).await
    }

    async fn bury(&mut self, position: Position, poison: &Poison, now: Timestamp) -> Result<(), LogError> {
        sqlx::query(
            "INSERT INTO dead_letters (position, payload, reason, created_at) VALUES (?, ?, ?, ?) \
             ON CONFLICT (position) DO NOTHING",
        )
        .bind(position.offset)
        .bind(&poison.payload)
        .bind(&poison.reason)
        .bind(now.as_millis())
        .execute(&self.pools.writer)
        .await?;
        Ok(())
    }

    async fn commit(&mut self, batch: &[Position]) -> Result<(), LogError> {
        let Some(last) = batch.iter().map(|position| position.offset).max() else { return Ok(()) };
        let mut transaction = self.pools.writer.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query(
            "INSERT INTO order_log_commit (consumer, position) VALUES (?, ?) \
             ON CONFLICT (consumer) DO UPDATE SET position = excluded.position",
        )
        .bind(CONSUMER)
        .bind(last)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM order_log WHERE position <= ?")
            .bind(last)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        self.committed = last;
        Ok(())
    }

    async fn lag(&mut self) -> Result<u64, LogError> {
        unsettled(&self.pools.reader, self.committed).await
    }
}

#[cfg(test)]
mod tests;
