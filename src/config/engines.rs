//! Which engines run, and how to reach their servers.

use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};

use super::{count_usize, millis};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Engines")]
pub struct EngineArgs {
    /// Database: a SQLite file, made if absent, or a MySQL or MariaDB server (`mysql://user:password@host/database`).
    #[arg(
        long,
        env = "PANICBUY_DATABASE_URL",
        value_name = "URL",
        default_value = "sqlite:panicbuy.db",
        hide_env_values = true
    )]
    pub database_url: String,
    /// Redis of the cluster engines: redis://, rediss:// (TLS), redis-cluster:// or rediss-cluster://.
    #[arg(long, env = "PANICBUY_REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: Option<String>,
    /// Kafka brokers of the cluster engines.
    #[arg(long, env = "PANICBUY_KAFKA_BROKERS", value_name = "HOST:PORT,…")]
    pub kafka_brokers: Option<String>,
    /// What this process does. The embedded engines are one process that does all.
    #[arg(long, env = "PANICBUY_ROLE", value_name = "ROLE", value_enum, default_value_t = Role::All)]
    pub role: Role,
    /// Connections to a SQLite file for reading; there is one for writing.
    #[arg(long, env = "PANICBUY_DATABASE_READERS", value_name = "N", default_value_t = 4, value_parser = value_parser!(u32).range(1..=64))]
    pub database_readers: u32,
    /// Connections to a database server.
    #[arg(long, env = "PANICBUY_DATABASE_CONNECTIONS", value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(2..=1000))]
    pub database_connections: u32,
    /// How long a statement or a transaction on a database server may take.
    #[arg(long, env = "PANICBUY_DATABASE_TIMEOUT_MS", value_name = "MS", default_value_t = 10_000, value_parser = millis())]
    pub database_timeout_ms: u64,
    /// What every key and channel in Redis begins with; shops that share a Redis need different ones.
    #[arg(long, env = "PANICBUY_REDIS_PREFIX", value_name = "TEXT", default_value = "panicbuy:", value_parser = redis_prefix)]
    pub redis_prefix: String,
    /// Connections to Redis for commands.
    #[arg(long, env = "PANICBUY_REDIS_CONNECTIONS", value_name = "N", default_value_t = 4, value_parser = count_usize)]
    pub redis_connections: usize,
    /// How long Redis may take to answer.
    #[arg(long, env = "PANICBUY_REDIS_TIMEOUT_MS", value_name = "MS", default_value_t = 2000, value_parser = millis())]
    pub redis_timeout_ms: u64,
    /// A file of certificates (PEM) to trust Redis by, instead of the system's.
    #[arg(long, env = "PANICBUY_REDIS_CA_FILE", value_name = "FILE")]
    pub redis_ca_file: Option<PathBuf>,
    /// How long a hot read (item, promo, list) is kept in Redis; a write drops it at once.
    #[arg(long, env = "PANICBUY_HOT_READS_MS", value_name = "MS", default_value_t = 30_000, value_parser = millis())]
    pub hot_reads_ms: u64,
    /// The topic of the order log; dead letters go to the same name with .dead behind it. Made if absent.
    #[arg(long, env = "PANICBUY_KAFKA_TOPIC", value_name = "NAME", default_value = "panicbuy.orders")]
    pub kafka_topic: String,
    /// The consumer group of the order writers.
    #[arg(long, env = "PANICBUY_KAFKA_GROUP", value_name = "NAME", default_value = "panicbuy-writers")]
    pub kafka_group: String,
    /// Partitions of a topic that is made: as many order writers can share the work.
    #[arg(long, env = "PANICBUY_KAFKA_PARTITIONS", value_name = "N", default_value_t = 12, value_parser = value_parser!(i32).range(1..=1000))]
    pub kafka_partitions: i32,
    /// Replicas of a topic that is made; -1: the broker's default.
    #[arg(long, env = "PANICBUY_KAFKA_REPLICATION", value_name = "N", default_value_t = -1, value_parser = value_parser!(i32).range(-1..=15), allow_hyphen_values = true)]
    pub kafka_replication: i32,
    /// How long a topic that is made keeps its records.
    #[arg(long, env = "PANICBUY_KAFKA_RETENTION_MS", value_name = "MS", default_value_t = 604_800_000, value_parser = millis())]
    pub kafka_retention_ms: u64,
    /// How long the brokers may take to acknowledge an order. After that it never gets into the log by this attempt.
    #[arg(long, env = "PANICBUY_KAFKA_TIMEOUT_MS", value_name = "MS", default_value_t = 5000, value_parser = millis())]
    pub kafka_timeout_ms: u64,
    /// Further properties of the Kafka client, for credentials and TLS, such as `security.protocol=SASL_SSL`.
    #[arg(long, env = "PANICBUY_KAFKA_PROPERTIES", value_name = "NAME=VALUE,…", value_delimiter = ',', value_parser = property, hide_env_values = true)]
    pub kafka_properties: Vec<(String, String)>,
    /// How often the ledgers are looked after: whether one was lost, and whether they agree with the database.
    #[arg(long, env = "PANICBUY_RECOVERY_INTERVAL_MS", value_name = "MS", default_value_t = 1000, value_parser = millis())]
    pub recovery_interval_ms: u64,
    /// How long units must be missing from a ledger at rest before it is built anew.
    #[arg(long, env = "PANICBUY_LEAK_AFTER_MS", value_name = "MS", default_value_t = 30_000, value_parser = millis())]
    pub leak_after_ms: u64,
    /// How long the start waits for each server.
    #[arg(long, env = "PANICBUY_START_TIMEOUT_MS", value_name = "MS", default_value_t = 60_000, value_parser = millis())]
    pub start_timeout_ms: u64,
    /// Orders of one promo that may wait for Redis, or joins. As many as sockets, so that all of them may come at once.
    #[arg(long, env = "PANICBUY_REDIS_QUEUE", value_name = "N", default_value_t = 20_000, value_parser = count_usize)]
    pub redis_queue: usize,
}

/// What a process of the cluster set does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Sockets, the REST API, the page and the waiting rooms' ticks.
    Gateway,
    /// The order writer, and what goes on whether or not anybody asks.
    Writer,
    All,
}

impl Role {
    pub fn is_gateway(self) -> bool {
        self != Self::Writer
    }

    pub fn is_writer(self) -> bool {
        self != Self::Gateway
    }
}

/// The set of engines that the settings name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineSet {
    /// One process and one SQLite file.
    Embedded { file: PathBuf },
    /// MySQL, Redis and Kafka.
    Cluster { database_url: String, redis_url: String, kafka_brokers: String },
}

/// The settings name no set of engines.
#[derive(Debug, thiserror::Error)]
pub enum NoEngineSet {
    #[error(
        "--database-url (PANICBUY_DATABASE_URL) must begin with sqlite: (a file), or mysql:// together with --redis-url and \
         --kafka-brokers"
    )]
    UnknownDatabase,
    #[error(
        "the cluster engines need all of --database-url mysql://…, --redis-url and --kafka-brokers (PANICBUY_DATABASE_URL, \
         PANICBUY_REDIS_URL, PANICBUY_KAFKA_BROKERS), but {missing} is missing"
    )]
    Incomplete { missing: &'static str },
    #[error("--role (PANICBUY_ROLE): the embedded engines are one process that does all; leave it unset")]
    RoleOfEmbedded,
}

impl EngineArgs {
    /// Which engines the settings ask for.
    pub fn set(&self) -> Result<EngineSet, NoEngineSet> {
        let incomplete = |missing| NoEngineSet::Incomplete { missing };
        let sqlite = self.database_url.strip_prefix("sqlite:").map(|path| path.trim_start_matches("//"));
        if let Some(path) = sqlite {
            if self.redis_url.is_some() || self.kafka_brokers.is_some() {
                return Err(incomplete("--database-url mysql://…"));
            }
            if self.role != Role::All {
                return Err(NoEngineSet::RoleOfEmbedded);
            }
            if path.is_empty() || path.starts_with(":memory:") {
                return Err(NoEngineSet::UnknownDatabase);
            }
            return Ok(EngineSet::Embedded { file: PathBuf::from(path) });
        }
        if !self.database_url.starts_with("mysql://") {
            return Err(NoEngineSet::UnknownDatabase);
        }
        Ok(EngineSet::Cluster {
            database_url: self.database_url.clone(),
            redis_url: self.redis_url.clone().ok_or(incomplete("--redis-url"))?,
            kafka_brokers: self.kafka_brokers.clone().ok_or(incomplete("--kafka-brokers"))?,
        })
    }
}

fn redis_prefix(text: &str) -> Result<String, String> {
    let plain = text.chars().all(|char| char.is_ascii_graphic() && !matches!(char, '{' | '}'));
    if plain && text.len() <= 100 {
        Ok(text.to_owned())
    } else {
        Err("expected at most 100 printable characters without braces or spaces, such as shop:".to_owned())
    }
}

fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, such as security.protocol=SASL_SSL".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::settings;

    fn set(args: &[&str]) -> Result<EngineSet, String> {
        settings(args).unwrap().engines.set().map_err(|error| error.to_string())
    }

    #[test]
    fn without_settings_the_embedded_engines_run() {
        assert_eq!(set(&[]), Ok(EngineSet::Embedded { file: PathBuf::from("panicbuy.db") }));
    }

    #[test]
    fn the_cluster_set_is_all_three_servers_or_none() {
        let all =
            ["--database-url", "mysql://m/shop", "--redis-url", "redis://r", "--kafka-brokers", "k:9092"];
        assert!(matches!(set(&all), Ok(EngineSet::Cluster { .. })));
        for (missing, args) in [
            ("--database-url", &all[2..]),
            ("--kafka-brokers", &all[..4]),
            ("--redis-url", &[all[0], all[1], all[4], all[5]]),
        ] {
            let error = set(args).unwrap_err();
            assert!(error.contains(missing), "{error}");
        }
    }

    #[test]
    fn what_cannot_be_is_said() {
        for args in
            [&["--database-url", "postgres://p"][..], &["--role", "writer"], &["--database-url", "sqlite:"]]
        {
            assert!(set(args).is_err(), "{args:?}");
        }
        assert!(settings(&["--redis-prefix", "a{b}"]).is_err());
        assert!(settings(&["--kafka-properties", "nonsense"]).is_err());
    }
}
