//! The promises of the store on a real server, and what only this engine promises.

use std::{sync::OnceLock, time::Duration};

use panicbuy_test_servers::{own_name, shared};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use tokio::runtime::Handle;

use super::{MysqlSettings, MysqlStore};
use crate::{clock, store::conformance::conformance};

mod locks;
mod proxy;
mod trouble;

/// Two stores on one database of their own, as two processes would have it.
struct Fixture {
    one: MysqlStore,
    two: MysqlStore,
    database: Database,
}

async fn open() -> Fixture {
    let database = Database::create().await;
    let one = MysqlStore::open(&database.url, &settings()).await.unwrap();
    let two = MysqlStore::open(&database.url, &settings()).await.unwrap();
    Fixture { one, two, database }
}

fn settings() -> MysqlSettings {
    MysqlSettings { max_connections: 4, ..MysqlSettings::default() }
}

conformance!(open);

/// An empty database, which is dropped with this value.
struct Database {
    name: String,
    url: String,
}

impl Database {
    async fn create() -> Self {
        static SWEPT: OnceLock<()> = OnceLock::new();
        if SWEPT.set(()).is_ok() {
            sweep().await;
        }
        let name = own_name();
        let database = Self { url: shared().database(&name), name };
        database.admin().await.run(&format!("CREATE DATABASE {}", database.name)).await;
        database
    }

    /// A connection that belongs to no store.
    async fn admin(&self) -> Admin {
        Admin(MySqlConnection::connect(&shared().database_url).await.unwrap())
    }

    /// The same, in this database.
    async fn inside(&self) -> Admin {
        Admin(MySqlConnection::connect(&self.url).await.unwrap())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {}", self.name);
        tokio::task::block_in_place(|| {
            Handle::current().block_on(async { self.admin().await.run(&drop).await });
        });
    }
}

/// Drops what test runs that were killed more than an hour ago have left behind.
async fn sweep() {
    let hour_ago = clock::now().as_millis() - 3_600_000;
    let mut admin = Admin(MySqlConnection::connect(&shared().database_url).await.unwrap());
    let names =
        "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE 'test!_%' ESCAPE '!'";
    let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut admin.0).await.unwrap();
    for name in names {
        let made = name.split('_').nth(1).and_then(|millis| millis.parse::<i64>().ok());
        if made.is_some_and(|made| made < hour_ago) {
            admin.run(&format!("DROP DATABASE IF EXISTS {name}")).await;
        }
    }
}

struct Admin(MySqlConnection);

impl Admin {
    async fn run(&mut self, sql: &str) {
        self.try_run(sql).await.unwrap();
    }

    async fn try_run(&mut self, sql: &str) -> Result<(), sqlx::Error> {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.0).await.map(|_| ())
    }

    /// How many transactions wait for a lock in `database`.
    async fn waiting(&mut self, database: &Database) -> i64 {
        let waiting = "SELECT COUNT(*) FROM information_schema.INNODB_TRX AS t \
             JOIN information_schema.PROCESSLIST AS p ON p.ID = t.trx_mysql_thread_id \
             WHERE p.DB = ? AND t.trx_state = 'LOCK WAIT'";
        sqlx::query_scalar(waiting).bind(&database.name).fetch_one(&mut self.0).await.unwrap()
    }

    /// Returns once `count` transactions wait for a lock in `database`.
    async fn until_waiting(&mut self, database: &Database, count: i64) {
        while self.waiting(database).await < count {
            // The server's list is made anew only when nobody has read it for 100 ms.
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
    }

    /// Ends every connection to `database` but this one.
    async fn kill_all(&mut self, database: &Database) {
        let ids = "SELECT CAST(ID AS SIGNED) FROM information_schema.PROCESSLIST WHERE DB = ? AND ID <> CONNECTION_ID()";
        let ids: Vec<i64> =
            sqlx::query_scalar(ids).bind(&database.name).fetch_all(&mut self.0).await.unwrap();
        for id in ids {
            // One that has ended by itself meanwhile is fine.
            self.try_run(&format!("KILL {id}")).await.ok();
        }
    }
}
