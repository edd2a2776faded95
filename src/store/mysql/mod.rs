//! The cluster's engine of the store: MySQL 8 or newer, or MariaDB 10.11 or newer, with the very same SQL.
//!
//! Knows SQL and connections; what to decide it asks the pure modules beside it. Any number of processes may work on one
//! database.
//!
//! **Locks.** Every transaction takes its row locks in one order, so that no two of them wait for each other: pools (in
//! the order of their ids), then a promo, then orders (in the order of theirs), then what it inserts. The rows of a pool,
//! and of the orders that draw on it, change only under the pool's lock; only a payment, which moves no units, locks its
//! order alone and so never waits for the writer. Should the server find a deadlock all the same (between two inserts
//! into one index, say), its victim is made again.
//!
//! **Lists** are bound as one JSON text and read with `JSON_TABLE`: each statement is prepared once, whatever the size of
//! the batch, and far below the 65,535 parameters that one may have.
//!
//! The binary log must hold rows (`binlog_format` ROW or MIXED, the defaults): statements alone are refused by the server
//! under READ COMMITTED.

use std::{str::FromStr, time::Duration};

use async_trait::async_trait;
use sqlx::{MySqlConnection, mysql::MySqlConnectOptions};
use tokio::time::timeout;

use self::connections::{Connections, took_too_long};
use super::port::{Store, StoreError};

mod connections;
mod item;
mod order;
mod promo;
mod user;

#[cfg(test)]
mod tests;

/// How the server is used.
#[derive(Clone, Debug)]
pub struct MysqlSettings {
    /// Connections for what shoppers and operators ask, at most.
    pub max_connections: u32,
    /// Connections for the order writer and the work behind it, at most: however many shoppers there are, it does not
    /// queue behind them.
    pub writer_connections: u32,
    /// How long a caller waits for a free connection, the time to open a new one included.
    pub acquire_timeout: Duration,
    /// How long a call may take in all, repetitions included, before its caller is told that it failed.
    pub call_timeout: Duration,
    /// How long a statement waits for a lock, in whole seconds.
    pub lock_wait: Duration,
    /// How long the server may take to say that it is there.
    pub ping_timeout: Duration,
    /// How long opening may take: for another process to bring the tables up to date, and to do it.
    pub migration_timeout: Duration,
    /// How often a call is made again after a failure that passes.
    pub retries: u32,
}

impl Default for MysqlSettings {
    fn default() -> Self {
        Self {
            max_connections: 10,
            writer_connections: 4,
            acquire_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
            lock_wait: Duration::from_secs(5),
            ping_timeout: Duration::from_secs(2),
            migration_timeout: Duration::from_mins(1),
            retries: 5,
        }
    }
}

/// The shop in one database of a server.
#[derive(Clone, Debug)]
pub struct MysqlStore {
    /// For what shoppers and operators ask.
    shop: Connections,
    /// For the order writer and the work behind it.
    writer: Connections,
    ping_timeout: Duration,
}

impl MysqlStore {
    /// Opens the database that `url` names (`mysql://user:password@host:port/database?ssl-mode=VERIFY_CA&ssl-ca=…`),
    /// which must exist, and brings its tables up to date. Several processes may do so at once.
    pub async fn open(url: &str, settings: &MysqlSettings) -> Result<Self, StoreError> {
        // The session's modes are set whole, see `connections`.
        let options =
            MySqlConnectOptions::from_str(url)?.pipes_as_concat(false).no_engine_substitution(false);
        if options.get_database().is_none() {
            let why = "the URL names no database: expected mysql://user:password@host:port/database";
            return Err(sqlx::Error::Configuration(why.into()).into());
        }
        let opening = MysqlSettings { call_timeout: settings.migration_timeout, ..settings.clone() };
        let migrations = Connections::new(options.clone(), 1, &opening);
        let wait = settings.migration_timeout;
        migrations.read(|on, _| Box::pin(migrate(on, wait))).await?;
        migrations.close().await;
        Ok(Self {
            shop: Connections::new(options.clone(), settings.max_connections.max(1), settings),
            writer: Connections::new(options, settings.writer_connections.max(1), settings),
            ping_timeout: settings.ping_timeout,
        })
    }

    async fn answers(&self) -> Result<(), StoreError> {
        let ping = self.writer.read(|on, _| Box::pin(select_one(on)));
        timeout(self.ping_timeout, ping).await.unwrap_or_else(|_| Err(took_too_long().into()))
    }
}

#[async_trait]
impl Store for MysqlStore {
    async fn close(&self) {
        self.shop.close().await;
        self.writer.close().await;
    }
}

/// Brings the tables up to date, one process at a time. The lock is this session's, so it ends with it at the latest.
///
/// The migrator's own lock is not used: it waits for ever on MySQL, and MariaDB does not grant it, as it has no such wait.
async fn migrate(connection: &mut MySqlConnection, wait: Duration) -> Result<(), StoreError> {
    let locked: Option<i64> =
        sqlx::query_scalar("SELECT GET_LOCK(CONCAT('panicbuy:', LEFT(SHA2(DATABASE(), 256), 32)), ?)")
            .bind(wait.as_secs())
            .fetch_one(&mut *connection)
            .await?;
    if locked != Some(1) {
        return Err(took_too_long().into());
    }
    let mut migrator = sqlx::migrate!("migrations/mysql");
    let done = migrator.set_locking(false).run_direct(None, &mut *connection, false).await;
    sqlx::query("DO RELEASE_LOCK(CONCAT('panicbuy:', LEFT(SHA2(DATABASE(), 256), 32)))")
        .execute(connection)
        .await?;
    Ok(done.map_err(sqlx::Error::from)?)
}

async fn select_one(connection: &mut MySqlConnection) -> Result<(), StoreError> {
    sqlx::query("SELECT 1").execute(connection).await?;
    Ok(())
}

/// An id that the server has just given a row.
fn id(generated: u64) -> Result<i64, StoreError> {
    Ok(i64::try_from(generated).map_err(|error| sqlx::Error::Decode(Box::new(error)))?)
}
