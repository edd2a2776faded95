//! Connections to the server, and what becomes of a call on one of them: its bounds, its transaction, its repetition.
//!
//! Knows the server's errors, but no table. A call that fails for a reason that passes (it was the victim of a deadlock,
//! it waited too long for a lock, its connection was lost) is made again as a whole, a bounded number of times and within
//! one bound of time, on another connection if need be.

use std::{error::Error, io, marker::PhantomData, pin::Pin, time::Duration};

use sqlx::{
    Connection, MySqlConnection, MySqlPool,
    mysql::{MySql, MySqlConnectOptions, MySqlDatabaseError, MySqlPoolOptions},
    pool::PoolConnection,
};
use tokio::time::{Instant, sleep, timeout_at};

use super::MysqlSettings;
use crate::{random, store::port::StoreError};

/// The pause before the first repetition. Doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// A bounded number of connections, for one kind of caller.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    pool: MySqlPool,
    call_timeout: Duration,
    retries: u32,
}

/// What a call does on a connection; made anew for each repetition.
///
/// The future borrows the connection for `'c`, and whatever else the call was given for `'a`, which outlives every `'c`:
/// that is all the second argument says.
pub(super) trait Work<'a, T, E>:
    for<'c> Fn(&'c mut MySqlConnection, PhantomData<&'c &'a ()>) -> Doing<'c, T, E> + Send + Sync
{
}

impl<'a, T, E, F> Work<'a, T, E> for F where
    F: for<'c> Fn(&'c mut MySqlConnection, PhantomData<&'c &'a ()>) -> Doing<'c, T, E> + Send + Sync
{
}

pub(super) type Doing<'c, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>;

/// What a call is, as far as making it again goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// Statements that change nothing, outside of a transaction.
    Read,
    /// A transaction that finds its own traces, or leads to the same state.
    Repeatable,
    /// A transaction that must not be made twice.
    Once,
}

/// A call failed.
struct Failure<E> {
    error: E,
    /// COMMIT was sent, and the server may have done it.
    undecided: bool,
}

impl Connections {
    /// At most `max` connections, which are opened as they are needed.
    pub(super) fn new(options: MySqlConnectOptions, max: u32, settings: &MysqlSettings) -> Self {
        let session = session(settings);
        let pool = MySqlPoolOptions::new()
            .max_connections(max)
            .acquire_timeout(settings.acquire_timeout)
            // One more round trip, against a whole transaction that would fail on a connection that the server, or
            // something between here and there, has closed meanwhile.
            .test_before_acquire(true)
            .after_connect(move |connection, _| {
                let session = session.clone();
                Box::pin(async move {
                    sqlx::raw_sql(sqlx::AssertSqlSafe(session)).execute(connection).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options);
        Self { pool, call_timeout: settings.call_timeout, retries: settings.retries }
    }

    /// Reads, without a transaction.
    pub(super) async fn read<'a, T>(&self, work: impl Work<'a, T, StoreError>) -> Result<T, StoreError> {
        self.call(Call::Read, work).await
    }

    /// Makes `work` a transaction that may be made again after any failure, an unknown end of its COMMIT among them:
    /// done twice, it comes to the same.
    pub(super) async fn repeatable<'a, T, E>(&self, work: impl Work<'a, T, E>) -> Result<T, E>
    where
        E: From<StoreError> + Error + 'static,
    {
        self.call(Call::Repeatable, work).await
    }

    /// Makes `work` a transaction that is not made again once its COMMIT was sent, because it would do its work twice
    /// or mistake its own traces for somebody else's. After an error the caller cannot know whether it was done.
    pub(super) async fn once<'a, T, E>(&self, work: impl Work<'a, T, E>) -> Result<T, E>
    where
        E: From<StoreError> + Error + 'static,
    {
        self.call(Call::Once, work).await
    }

    /// Waits for calls under way, and closes the connections.
    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    async fn call<'a, T, E>(&self, call: Call, work: impl Work<'a, T, E>) -> Result<T, E>
    where
        E: From<StoreError> + Error + 'static,
    {
        let deadline = Instant::now() + self.call_timeout;
        let mut pause = PAUSE_MIN;
        for left in (0..=self.retries).rev() {
            let Ok(made) = timeout_at(deadline, self.attempt(call, &work)).await else { break };
            let failure = match made {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            if left == 0 || !failure.passes(call) {
                return Err(failure.error);
            }
            tracing::debug!(error = %failure.error, left, "a call to the database is made again");
            let jitter = random::below(pause.as_micros().try_into().unwrap_or(u64::MAX));
            sleep(pause / 2 + Duration::from_micros(jitter)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Err(StoreError(took_too_long()).into())
    }

    async fn attempt<'a, T, E>(&self, call: Call, work: &impl Work<'a, T, E>) -> Result<T, Failure<E>>
    where
        E: From<StoreError> + Error + 'static,
    {
        let connection = self.pool.acquire().await.map_err(Failure::before_commit)?;
        let mut borrowed = Borrowed { connection, between_calls: false };
        let made = match call {
            Call::Read => work(&mut borrowed.connection, PhantomData).await.map_err(Failure::of_work),
            Call::Repeatable | Call::Once => transaction(&mut borrowed.connection, work).await,
        };
        borrowed.between_calls = match &made {
            Ok(_) => true,
            Err(failure) => !cause(&failure.error).is_some_and(is_lost),
        };
        made
    }
}

async fn transaction<'a, T, E: From<StoreError>>(
    connection: &mut MySqlConnection,
    work: &impl Work<'a, T, E>,
) -> Result<T, Failure<E>> {
    let mut tx = connection.begin().await.map_err(Failure::before_commit)?;
    match work(&mut tx, PhantomData).await {
        Ok(value) => {
            tx.commit().await.map_err(Failure::in_commit)?;
            Ok(value)
        }
        Err(error) => {
            // What made the work fail is what matters; a connection that cannot even roll back is not used again.
            let _ = tx.rollback().await;
            Err(Failure::of_work(error))
        }
    }
}

/// A connection of the pool's. One that is given back in the middle of a call, because the call took too long or nobody
/// waits for it any more, is closed: the server may still be at it, or be dead.
struct Borrowed {
    connection: PoolConnection<MySql>,
    between_calls: bool,
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if !self.between_calls {
            self.connection.close_on_drop();
        }
    }
}

impl<E: From<StoreError>> Failure<E> {
    fn of_work(error: E) -> Self {
        Self { error, undecided: false }
    }

    fn before_commit(error: sqlx::Error) -> Self {
        Self::of_work(StoreError(error).into())
    }

    fn in_commit(error: sqlx::Error) -> Self {
        // A deadlock, found as late as this by a cluster of servers, means that nothing was done.
        let undecided = number(&error) != Some(DEADLOCK);
        Self { error: StoreError(error).into(), undecided }
    }
}

impl<E: Error + 'static> Failure<E> {
    /// Whether the call may be made again, with hope.
    fn passes(&self, call: Call) -> bool {
        let Some(error) = cause(&self.error) else { return false };
        if self.undecided && call == Call::Once {
            return false;
        }
        // Another transaction inserted the same row since this one looked; who looks again finds it.
        let overtaken = matches!(error, sqlx::Error::Database(error) if error.is_unique_violation());
        (overtaken && call == Call::Repeatable)
            || matches!(number(error), Some(DEADLOCK | LOCK_WAIT_TIMEOUT))
            || is_lost(error)
    }
}

const DEADLOCK: u16 = 1213;
const LOCK_WAIT_TIMEOUT: u16 = 1205;

/// What servers, and proxies before them, say on a connection that is of no more use: shutting down (1053, 1077, 1079),
/// network trouble (1158 to 1161), become read-only by a failover (1290, 1836), killed (1927, 3169), idle for too long
/// (4031), and a proxy that has lost its server (2006, 2013).
const LOST: [u16; 14] = [1053, 1077, 1079, 1158, 1159, 1160, 1161, 1290, 1836, 1927, 2006, 2013, 3169, 4031];

/// Whether the connection is of no more use.
fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        error => number(error).is_some_and(|number| LOST.contains(&number)),
    }
}

/// The server's number of the error, if the server reported it.
fn number(error: &sqlx::Error) -> Option<u16> {
    let sqlx::Error::Database(error) = error else { return None };
    error.try_downcast_ref::<MySqlDatabaseError>().map(MySqlDatabaseError::number)
}

/// The database's error behind an operation's: the source of a [`StoreError`], and of each error that passes one on.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a sqlx::Error> {
    error.source()?.downcast_ref()
}

/// The error of a call that was given up.
pub(super) fn took_too_long() -> sqlx::Error {
    sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database took too long"))
}

/// How a session is set, whatever the server's own settings say.
///
/// READ COMMITTED: under repeatable read the first plain read fixes what the whole transaction sees, which would have to
/// be after every lock is taken, or the last unit is sold twice; and it locks gaps, on which writers of different pools
/// would deadlock. Here each statement sees what was committed before it, and locks are on rows.
/// Strict: a value that does not fit is an error, never cut off.
fn session(settings: &MysqlSettings) -> String {
    format!(
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
         SET SESSION autocommit = 1, innodb_lock_wait_timeout = {}, \
         sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY'",
        settings.lock_wait.as_secs().max(1)
    )
}
