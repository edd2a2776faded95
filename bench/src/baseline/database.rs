//! A database of the measurement's own on the server under test, with the shop's own tables: the same columns, indexes and
//! checks, because they come from the shop's own migration.

use anyhow::Context;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, Row, mysql::MySqlConnectOptions};
use uuid::Uuid;

use crate::found::Found;

/// The shop's tables.
const TABLES: &str = include_str!("../../../migrations/mysql/0001_shop.sql");

/// The one pool that everybody wants.
pub const HOT_POOL: &str = "promo:1";
/// The promo of [`HOT_POOL`], and its item.
pub const HOT_ID: i64 = 1;
/// Its price of one unit.
pub const PRICE_MINOR: i64 = 1999;
/// More units than any measurement sells.
const STOCK: i64 = 1_000_000_000;

/// As the shop's own sessions: row locks without gaps, each statement sees what is committed, nothing is cut off.
const SESSION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
    SET SESSION sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY'";

/// What decides how durable and how fast a commit is. Read, never set: the server is measured as it stands.
const VARIABLES: [&str; 8] = [
    "version",
    "innodb_flush_log_at_trx_commit",
    "innodb_flush_method",
    "innodb_doublewrite",
    "innodb_buffer_pool_size",
    "innodb_log_file_size",
    "log_bin",
    "sync_binlog",
];

/// Shoppers there are; a power of two.
const SHOPPERS: i64 = 1 << 24;
/// Odd, so that no two shoppers get the same number.
const SCATTER: i64 = 0x9E_3779;

/// The n-th shopper who comes, from 1 on, never the same twice among the first 2^24: people do not come in the order in which they
/// signed up, so new rows belong anywhere in an index.
pub fn shopper(nth: i64) -> i64 {
    nth.wrapping_mul(SCATTER) & (SHOPPERS - 1)
}

/// A database that nobody else uses. To be dropped with [`Self::drop_it`].
pub struct OwnDatabase {
    server: MySqlConnectOptions,
    name: String,
}

impl OwnDatabase {
    /// Makes it, with empty tables.
    pub async fn create(url: &str) -> anyhow::Result<Self> {
        let server: MySqlConnectOptions = url.parse().context("--database-url")?;
        let name = format!("panicbuy_bench_{}", &Uuid::new_v4().simple().to_string()[..12]);
        let mut connection = server.connect().await.context("the database does not answer")?;
        let create = format!("CREATE DATABASE {name} CHARACTER SET utf8mb4");
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await?;
        let own = Self { server, name };
        sqlx::raw_sql(TABLES).execute(&mut own.connect().await?).await?;
        Ok(own)
    }

    /// A connection of its own, with the session that the shop uses.
    pub async fn connect(&self) -> anyhow::Result<MySqlConnection> {
        let mut connection = self.server.clone().database(&self.name).connect().await?;
        sqlx::raw_sql(SESSION).execute(&mut connection).await?;
        Ok(connection)
    }

    /// Empties the tables, and puts [`HOT_POOL`] up for sale.
    pub async fn restock(&self) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        sqlx::raw_sql("TRUNCATE orders; TRUNCATE pools").execute(&mut connection).await?;
        let insert = sqlx::query("INSERT INTO pools (id, initial) VALUES (?, ?)").bind(HOT_POOL).bind(STOCK);
        insert.execute(&mut connection).await?;
        Ok(())
    }

    /// Orders that the pool has counted as sold and the table lacks, or the other way round: 0 if every order was whole.
    pub async fn discrepancy(&self) -> anyhow::Result<u64> {
        let mut connection = self.connect().await?;
        let sold: i64 = sqlx::query_scalar("SELECT CAST(SUM(sold) AS SIGNED) FROM pools")
            .fetch_one(&mut connection)
            .await?;
        let orders: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM orders").fetch_one(&mut connection).await?;
        anyhow::ensure!(orders > 0, "not one order was written");
        Ok(sold.abs_diff(orders))
    }

    /// Notes the server's settings.
    pub async fn describe(&self, found: &mut Found) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        for name in VARIABLES {
            let show = sqlx::query("SHOW GLOBAL VARIABLES WHERE Variable_name = ?").bind(name);
            if let Some(row) = show.fetch_optional(&mut connection).await? {
                let value: String = row.try_get(1)?;
                found.set(&format!("database_{name}"), value);
            }
        }
        Ok(())
    }

    /// Drops it, whatever the measurement came to; its error comes first.
    pub async fn drop_it<T>(self, measured: anyhow::Result<T>) -> anyhow::Result<T> {
        let dropped = async {
            let mut connection = self.server.connect().await?;
            let drop = format!("DROP DATABASE {}", self.name);
            sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await?;
            connection.close().await
        };
        let dropped = dropped.await.with_context(|| format!("the database {} is left over", self.name));
        let measured = measured?;
        dropped?;
        Ok(measured)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::shopper;

    #[test]
    fn nobody_comes_twice_or_in_order() {
        let came: Vec<i64> = (1..=100_000).map(shopper).collect();
        assert_eq!(came.iter().collect::<HashSet<_>>().len(), came.len());
        assert!(!came.is_sorted());
        assert!(came.iter().all(|user| *user > 0));
    }
}
