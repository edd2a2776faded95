//! Orders written in batches: one transaction for many, under the same row lock.
//!
//! Nothing but the lock, the insert and the deduction: the shop's writer also looks for orders that are there already, for
//! shoppers' limits and for users. Rows are made before the lock is taken.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use anyhow::Context;
use clap::{Args, ValueEnum};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use uuid::Uuid;

use crate::{
    baseline::{
        closed_loop::{self, Worker},
        database::{HOT_ID, HOT_POOL, OwnDatabase, PRICE_MINOR, shopper},
        timing::{Pace, Repeats},
    },
    found::Found,
};

/// The statement's beginning, the shop's own.
const INSERT: &str = include_str!("../../../../src/store/mysql/sql/insert_orders.sql");
/// Values of one row in it.
const COLUMNS: usize = 12;
/// Parameters a statement may have.
const MAX_PARAMETERS: usize = 65_535;
/// A payment window, in milliseconds.
const PAYMENT_WINDOW_MS: i64 = 900_000;

/// Settings of the batches.
#[derive(Clone, Debug, Args)]
pub struct BatchSettings {
    /// Orders in one transaction.
    #[arg(long = "batch-sizes", value_name = "N,…", value_delimiter = ',', default_values_t = [500, 1000, 2000])]
    pub sizes: Vec<usize>,
    /// Connections that write batches side by side.
    #[arg(long = "batch-connections", value_name = "N,…", value_delimiter = ',', default_values_t = [1, 2])]
    pub connections: Vec<u32>,
    /// Forms of the insert.
    #[arg(long = "batch-forms", value_enum, value_name = "FORM,…", value_delimiter = ',', default_values_t = [Form::Prepared, Form::Text])]
    pub forms: Vec<Form>,
}

/// How the rows get to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A prepared statement of many rows, with parameters.
    Prepared,
    /// The rows written out in the statement's text.
    Text,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Text => "text",
        }
    }
}

/// Measures every form at every size and number of connections. `batched_orders_per_s` is the best of all.
pub async fn measure(
    url: &str,
    settings: &BatchSettings,
    pace: Pace,
    found: &mut Found,
) -> anyhow::Result<()> {
    found.set("batch_sizes", settings.sizes.clone());
    found.set("batch_connections", settings.connections.clone());
    for &size in &settings.sizes {
        anyhow::ensure!((1..=MAX_PARAMETERS / COLUMNS).contains(&size), "a batch of {size} is no statement");
    }
    let database = OwnDatabase::create(url).await?;
    let measured = measure_on(&database, settings, pace, found).await;
    database.drop_it(measured).await
}

async fn measure_on(
    database: &OwnDatabase,
    settings: &BatchSettings,
    pace: Pace,
    found: &mut Found,
) -> anyhow::Result<()> {
    database.describe(found).await?;
    let mut best: Option<(String, Repeats)> = None;
    for &form in &settings.forms {
        for &size in &settings.sizes {
            for &connections in &settings.connections {
                let case = format!("{}_of_{size}_at_{connections}_connections", form.name());
                let repeats = repeat(database, Case { form, size, connections }, pace, found).await?;
                repeats.note(found, &format!("batched_orders_per_s_{case}"));
                found.latencies.insert(format!("batch_{case}"), repeats.percentiles());
                eprintln!("batches, {case}: {:.0} orders per second", repeats.median());
                if best.as_ref().is_none_or(|(_, best)| repeats.median() > best.median()) {
                    best = Some((case, repeats));
                }
            }
        }
    }
    let (case, repeats) = best.context("no batch was asked for")?;
    repeats.note(found, "batched_orders_per_s");
    found.latencies.insert("batch".to_owned(), repeats.percentiles());
    found.set("best_batch", case);
    Ok(())
}

#[derive(Clone, Copy)]
struct Case {
    form: Form,
    size: usize,
    connections: u32,
}

async fn repeat(
    database: &OwnDatabase,
    case: Case,
    pace: Pace,
    found: &mut Found,
) -> anyhow::Result<Repeats> {
    let mut repeats = Repeats::default();
    for _ in 0..pace.repeats {
        database.restock().await?;
        let next_user = Arc::new(AtomicI64::new(1));
        let mut writers = Vec::new();
        for _ in 0..case.connections {
            writers.push(Writer::new(database.connect().await?, case, Arc::clone(&next_user)));
        }
        let measured = closed_loop::run(writers, pace).await?;
        *found.faults.entry("batched_orders_not_counted".to_owned()).or_default() +=
            database.discrepancy().await?;
        repeats.push(measured.per_s, &measured.latencies);
    }
    Ok(repeats)
}

/// One order, as the shop's table has it.
struct Row {
    id: String,
    request_id: String,
    user_id: i64,
    created_at: i64,
}

/// One connection that writes batch after batch.
struct Writer {
    connection: MySqlConnection,
    case: Case,
    next_user: Arc<AtomicI64>,
    /// The prepared statement, the same text for every batch.
    prepared: Arc<str>,
}

impl Writer {
    fn new(connection: MySqlConnection, case: Case, next_user: Arc<AtomicI64>) -> Self {
        Self { connection, case, next_user, prepared: prepared_insert(case.size).into() }
    }

    fn rows(&self) -> Vec<Row> {
        let size = i64::try_from(self.case.size).unwrap_or(i64::MAX);
        let first = self.next_user.fetch_add(size, Ordering::Relaxed);
        let created_at = jiff::Timestamp::now().as_millisecond();
        let row = |user_id| Row {
            id: Uuid::now_v7().to_string(),
            request_id: Uuid::new_v4().to_string(),
            user_id,
            created_at,
        };
        (first..first + size).map(shopper).map(row).collect()
    }
}

impl Worker for Writer {
    async fn work(&mut self) -> anyhow::Result<u64> {
        let rows = self.rows();
        let text = if self.case.form == Form::Text { text_insert(&rows) } else { String::new() };
        let mut transaction = self.connection.begin().await?;
        let left: i64 = sqlx::query_scalar("SELECT initial - sold FROM pools WHERE id = ? FOR UPDATE")
            .bind(HOT_POOL)
            .fetch_one(&mut *transaction)
            .await?;
        let units = i64::try_from(rows.len())?;
        anyhow::ensure!(left >= units, "sold out");
        match self.case.form {
            Form::Prepared => insert_prepared(&mut transaction, Arc::clone(&self.prepared), &rows).await?,
            Form::Text => {
                sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut *transaction).await?;
            }
        }
        let deduct = sqlx::query("UPDATE pools SET sold = sold + ? WHERE id = ?").bind(units).bind(HOT_POOL);
        deduct.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(u64::try_from(units)?)
    }
}

async fn insert_prepared(
    connection: &mut MySqlConnection,
    text: Arc<str>,
    rows: &[Row],
) -> anyhow::Result<()> {
    let mut insert = sqlx::query(AssertSqlSafe(text));
    for row in rows {
        insert = insert
            .bind(&row.id)
            .bind(&row.request_id)
            .bind(row.user_id)
            .bind(HOT_ID)
            .bind(HOT_ID)
            .bind(HOT_POOL)
            .bind(1_i64)
            .bind(PRICE_MINOR)
            .bind("awaiting_payment")
            .bind(None::<&str>)
            .bind(row.created_at)
            .bind(row.created_at + PAYMENT_WINDOW_MS);
    }
    insert.execute(connection).await?;
    Ok(())
}

fn prepared_insert(rows: usize) -> String {
    let row = format!("({})", ["?"; COLUMNS].join(", "));
    format!("{INSERT} VALUES {}", vec![row; rows].join(", "))
}

fn text_insert(rows: &[Row]) -> String {
    let mut text = format!("{INSERT} VALUES ");
    for (nth, Row { id, request_id, user_id, created_at }) in rows.iter().enumerate() {
        let comma = if nth == 0 { "" } else { "," };
        let pay_before = created_at + PAYMENT_WINDOW_MS;
        write!(
            text,
            "{comma}('{id}','{request_id}',{user_id},{HOT_ID},{HOT_ID},'{HOT_POOL}',1,{PRICE_MINOR},'awaiting_payment',\
             NULL,{created_at},{pay_before})"
        )
        .expect("a String takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_insert_has_a_parameter_for_each_value() {
        let text = prepared_insert(3);
        assert_eq!(text.matches('?').count(), 3 * COLUMNS);
        assert_eq!(INSERT.split_once('(').unwrap().1.split(',').count(), COLUMNS);
    }

    #[test]
    fn a_written_out_insert_has_the_same_values() {
        let row = |user_id| Row { id: "a".into(), request_id: "b".into(), user_id, created_at: 7 };
        let text = text_insert(&[row(1), row(2)]);
        let values = text.split_once(" VALUES ").unwrap().1;
        assert_eq!(values.matches(',').count(), 2 * (COLUMNS - 1) + 1);
        assert!(values.ends_with(",'awaiting_payment',NULL,7,900007)"));
    }
}
