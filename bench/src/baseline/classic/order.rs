//! One order as one transaction.

use clap::ValueEnum;
use sqlx::{Connection, MySqlConnection};
use uuid::Uuid;

use crate::baseline::database::{HOT_ID, HOT_POOL, PRICE_MINOR};

/// Units of one order, and as many as a shopper may hold.
const QUANTITY: i64 = 1;
const PER_USER_LIMIT: i64 = 1;
/// A payment window, in milliseconds.
const PAYMENT_WINDOW_MS: i64 = 900_000;

/// In which order a transaction does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shape {
    /// Lock the stock's row, look at stock and limit, deduct, insert, commit.
    Textbook,
    /// Look at the limit and insert first; deduct under a condition as the last statement before the commit.
    ShortLock,
}

impl Shape {
    /// Its name in results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Textbook => "textbook",
            Self::ShortLock => "short_lock",
        }
    }
}

/// Places an order for the hot pool. Fails if it is refused: there is enough for everybody who comes.
pub async fn place(connection: &mut MySqlConnection, shape: Shape, user: i64) -> anyhow::Result<()> {
    let mut transaction = connection.begin().await?;
    match shape {
        Shape::Textbook => {
            let left: i64 = sqlx::query_scalar("SELECT initial - sold FROM pools WHERE id = ? FOR UPDATE")
                .bind(HOT_POOL)
                .fetch_one(&mut *transaction)
                .await?;
            anyhow::ensure!(left >= QUANTITY, "sold out");
            check_limit(&mut transaction, user).await?;
            deduct(&mut transaction).await?;
            insert(&mut transaction, user).await?;
        }
        Shape::ShortLock => {
            check_limit(&mut transaction, user).await?;
            insert(&mut transaction, user).await?;
            deduct(&mut transaction).await?;
        }
    }
    transaction.commit().await?;
    Ok(())
}

async fn check_limit(connection: &mut MySqlConnection, user: i64) -> anyhow::Result<()> {
    let held: i64 = sqlx::query_scalar(include_str!("../sql/held_units.sql"))
        .bind(HOT_POOL)
        .bind(user)
        .fetch_one(connection)
        .await?;
    anyhow::ensure!(held + QUANTITY <= PER_USER_LIMIT, "the shopper has one already");
    Ok(())
}

async fn deduct(connection: &mut MySqlConnection) -> anyhow::Result<()> {
    let deducted = sqlx::query("UPDATE pools SET sold = sold + ? WHERE id = ? AND sold + ? <= initial")
        .bind(QUANTITY)
        .bind(HOT_POOL)
        .bind(QUANTITY)
        .execute(connection)
        .await?;
    anyhow::ensure!(deducted.rows_affected() == 1, "sold out");
    Ok(())
}

async fn insert(connection: &mut MySqlConnection, user: i64) -> anyhow::Result<()> {
    let now = jiff::Timestamp::now().as_millisecond();
    sqlx::query(include_str!("../sql/insert_order.sql"))
        .bind(Uuid::now_v7().to_string())
        .bind(Uuid::new_v4().to_string())
        .bind(user)
        .bind(HOT_ID)
        .bind(HOT_ID)
        .bind(HOT_POOL)
        .bind(QUANTITY)
        .bind(PRICE_MINOR)
        .bind("awaiting_payment")
        .bind(now)
        .bind(now + PAYMENT_WINDOW_MS)
        .execute(connection)
        .await?;
    Ok(())
}
