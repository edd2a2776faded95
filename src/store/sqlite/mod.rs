//! The embedded engine of the store: one file in WAL mode.
//!
//! Knows SQL and connections; what to decide it asks the pure modules beside it. There is one writing connection, so
//! that writers queue for it in this process instead of meeting a busy database; readers have connections of their own
//! and are never held up by a writer.

use std::{str::FromStr, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{
    Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::port::{Store, StoreError};

mod item;
mod order;
mod promo;
mod user;

#[cfg(test)]
mod tests;

/// How the file is used.
#[derive(Clone, Debug)]
pub struct SqliteSettings {
    /// Connections that only read.
    pub readers: u32,
    /// How long a caller waits for a free connection.
    pub acquire_timeout: Duration,
    /// How long a connection waits for another process that holds the file's lock.
    pub busy_timeout: Duration,
}

impl Default for SqliteSettings {
    fn default() -> Self {
        Self { readers: 4, acquire_timeout: Duration::from_secs(10), busy_timeout: Duration::from_secs(5) }
    }
}

/// The shop in one file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    reader: SqlitePool,
    /// Shoppers' own writes take turns before they queue for the writing connection, so that however many there are,
    /// the order log and the order writer wait behind a few of them at most.
    turns: Arc<Semaphore>,
}

/// Writes of shoppers that may queue for the writing connection at once.
const SHOPPERS_TURNS: usize = 4;

impl SqliteStore {
    /// Opens the file that `url` names (`sqlite:…`, or a path), creates it if it is missing, and brings its tables up
    /// to date.
    pub async fn open(url: &str, settings: &SqliteSettings) -> Result<Self, StoreError> {
        let file = connect_options(url)?.busy_timeout(settings.busy_timeout);
        // FULL: an accepted order must survive a power cut, so every commit is on the disk before it returns.
        let durable = file
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        let writer = pool_options(settings, 1).connect_with(durable).await?;
        sqlx::migrate!("migrations/sqlite").run(&writer).await.map_err(sqlx::Error::from)?;
        let reads = file.pragma("query_only", "ON");
        let reader = pool_options(settings, settings.readers.max(1)).connect_with(reads).await?;
        Ok(Self { writer, reader, turns: Arc::new(Semaphore::new(SHOPPERS_TURNS)) })
    }

    /// The one connection that writes. Begin its transactions with `BEGIN IMMEDIATE`.
    pub fn writer(&self) -> &SqlitePool {
        &self.writer
    }

    /// The connections that read. They see a write as soon as its transaction has committed.
    pub fn reader(&self) -> &SqlitePool {
        &self.reader
    }

    /// A shopper's turn to write, to be held until the write is done.
    async fn turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        Ok(self.turns.acquire().await.map_err(|_| sqlx::Error::PoolClosed)?)
    }

    /// Begins a transaction that writes, and takes the file's write lock at once: what it reads stays true until it
    /// commits, and it cannot fail half-way because another writer was faster.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        Ok(self.writer.begin_with("BEGIN IMMEDIATE").await?)
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn close(&self) {
        self.reader.close().await;
        self.writer.close().await;
    }
}

fn connect_options(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    if url.contains(":memory:") || url.contains("mode=memory") {
        let why = "a database in memory cannot be shared by several connections: name a file";
        return Err(sqlx::Error::Configuration(why.into()).into());
    }
    if url.starts_with("sqlite:") {
        Ok(SqliteConnectOptions::from_str(url)?)
    } else {
        Ok(SqliteConnectOptions::new().filename(url))
    }
}

fn pool_options(settings: &SqliteSettings, connections: u32) -> SqlitePoolOptions {
    // A connection to a file does not go stale, so it is neither tested nor replaced.
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(settings.acquire_timeout)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
}
