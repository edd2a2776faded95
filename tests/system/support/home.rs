//! Where a test's servers keep their state: a folder for the embedded engines, or names of its own on the real servers.
//!
//! The test crate decides: `system` tests the embedded engines, `cluster` the very same promises on MySQL, Redis and Kafka.

use std::path::{Path, PathBuf};

use panicbuy_test_servers::{Servers, own_name, shared};
use sqlx::{Connection, Executor, MySqlConnection};
use tempfile::TempDir;
use tokio::runtime::Handle;

/// Signs the session tokens of every process of one home.
const TOKEN_SECRET: &str = "a secret of at least thirty-two characters";

/// One shop's state. Servers come and go on it.
pub struct Home {
    directory: TempDir,
    flags: Vec<String>,
    _database: Option<Database>,
}

/// A database on a server, dropped with the home.
struct Database {
    server: String,
    name: String,
}

impl Database {
    fn tell(&self, statement: &str) {
        let told = async {
            let mut connection = MySqlConnection::connect(&self.server).await?;
            connection.execute(sqlx::AssertSqlSafe(statement.to_owned())).await
        };
        tokio::task::block_in_place(|| Handle::current().block_on(told))
            .expect("the database server answers");
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.tell(&format!("DROP DATABASE IF EXISTS {}", self.name));
        }
    }
}

/// Whether this crate tests the cluster engines.
pub fn is_cluster() -> bool {
    env!("CARGO_CRATE_NAME") == "cluster"
}

impl Home {
    /// A new, empty shop.
    pub fn new() -> Self {
        if is_cluster() { Self::on(shared()) } else { Self::embedded() }
    }

    /// A new, empty shop on these servers.
    pub fn on(servers: &Servers) -> Self {
        let name = own_name();
        let database = Database { server: servers.database(""), name: name.clone() };
        database.tell(&format!("CREATE DATABASE {name}"));
        let flags = [
            ("--database-url", servers.database(&name)),
            ("--redis-url", servers.redis_url.clone()),
            ("--kafka-brokers", servers.kafka_brokers.clone()),
            ("--redis-prefix", format!("{name}:")),
            ("--kafka-topic", name.clone()),
            ("--kafka-group", name.clone()),
            ("--kafka-partitions", "3".to_owned()),
            ("--token-secret", TOKEN_SECRET.to_owned()),
        ];
        let flags = flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect();
        Self { directory: TempDir::new().unwrap(), flags, _database: Some(database) }
    }

    fn embedded() -> Self {
        let directory = TempDir::new().unwrap();
        let url = format!("sqlite:{}", directory.path().join("shop.db").display());
        Self { directory, flags: vec!["--database-url".to_owned(), url], _database: None }
    }

    /// The flags that lead a server here.
    pub fn flags(&self) -> &[String] {
        &self.flags
    }

    /// A file of the embedded engines.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}
