//! The servers of `scripts/services`, and what a run leaves on them: a database, a topic and a prefix of its own.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, bail, ensure};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use tokio::process::Command;

/// How long the brokers are waited for.
const BROKERS_ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Keys of Redis that are deleted with one command.
const KEYS_AT_ONCE: usize = 500;

/// Database, Redis and Kafka on this machine.
#[derive(Clone, Debug)]
pub struct Services {
    pub database_url: String,
    pub redis_url: String,
    pub kafka_brokers: String,
    /// Their processes by name, where they are processes.
    pub processes: Vec<(String, u32)>,
    script: PathBuf,
    were_up: bool,
}

impl Services {
    /// Starts what does not run yet.
    pub async fn up(script: PathBuf) -> anyhow::Result<Self> {
        let were_up = Command::new(&script).arg("status").output().await?.status.success();
        let settings: BTreeMap<_, _> = ask(&script, "up")
            .await?
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let setting = |name: &str| {
            settings.get(name).cloned().with_context(|| format!("scripts/services names no {name}"))
        };
        let processes = ask(&script, "status").await?.lines().filter_map(process).collect();
        Ok(Self {
            database_url: setting("PANICBUY_DATABASE_URL")?,
            redis_url: setting("PANICBUY_REDIS_URL")?,
            kafka_brokers: setting("PANICBUY_KAFKA_BROKERS")?,
            processes,
            script,
            were_up,
        })
    }

    /// Ends them, unless they were up before.
    pub async fn down(self) -> anyhow::Result<()> {
        if !self.were_up {
            ask(&self.script, "down").await?;
        }
        Ok(())
    }

    /// The URL of another database on the same server, with the same login.
    pub fn database(&self, name: &str) -> anyhow::Result<String> {
        let (server, _) = self.database_url.rsplit_once('/').context("a database URL ends with /NAME")?;
        Ok(format!("{server}/{name}"))
    }

    /// Makes a database.
    pub async fn create_database(&self, name: &str) -> anyhow::Result<()> {
        let mut connection = MySqlConnection::connect(&self.database_url).await.context("no database")?;
        let sql = format!("CREATE DATABASE `{name}` CHARACTER SET utf8mb4");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        Ok(())
    }

    /// Deletes everything of this name: the database, the topic and its dead letters, and all keys with the prefix.
    pub async fn forget(&self, name: &str) -> anyhow::Result<()> {
        let mut connection = MySqlConnection::connect(&self.database_url).await.context("no database")?;
        let sql = format!("DROP DATABASE IF EXISTS `{name}`");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &self.kafka_brokers).create()?;
        let options = AdminOptions::new().operation_timeout(Some(BROKERS_ANSWER_WITHIN));
        // A topic that was never made cannot be deleted, and that is as well.
        admin.delete_topics(&[name, &format!("{name}.dead")], &options).await?;
        let (url, prefix) = (self.redis_url.clone(), format!("{name}:"));
        tokio::task::spawn_blocking(move || delete_keys(&url, &prefix)).await?
    }

    /// Versions of the three, as they tell them.
    pub async fn versions(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let mut connection = MySqlConnection::connect(&self.database_url).await.context("no database")?;
        let database: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut connection).await?;
        let url = self.redis_url.clone();
        let redis = tokio::task::spawn_blocking(move || redis_version(&url)).await??;
        let jars = self.script.with_file_name("kafka").join("pom.xml");
        let kafka = tokio::fs::read_to_string(jars).await.ok().and_then(|pom| kafka_version(&pom));
        Ok(BTreeMap::from([
            ("database".to_owned(), database),
            ("redis".to_owned(), redis),
            ("kafka".to_owned(), kafka.unwrap_or_else(|| "unknown".to_owned())),
        ]))
    }
}

async fn ask(script: &PathBuf, verb: &str) -> anyhow::Result<String> {
    let output = Command::new(script)
        .arg(verb)
        .stderr(std::process::Stdio::inherit())
        .output()
        .await
        .with_context(|| format!("{} cannot be run", script.display()))?;
    if !output.status.success() {
        bail!("{} {verb} failed", script.display());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A line of `scripts/services status`: `database up 127.0.0.1:23306 pid 123`.
fn process(line: &str) -> Option<(String, u32)> {
    let name = line.split_whitespace().next()?;
    let (_, pid) = line.rsplit_once("pid ")?;
    Some((name.to_owned(), pid.trim().parse().ok()?))
}

fn delete_keys(url: &str, prefix: &str) -> anyhow::Result<()> {
    ensure!(prefix.len() > 1, "everything would be deleted");
    let mut connection = redis::Client::open(url)?.get_connection()?;
    let mut cursor = 0_u64;
    loop {
        let (next, keys): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg("MATCH")
            .arg(format!("{prefix}*"))
            .arg("COUNT")
            .arg(KEYS_AT_ONCE)
            .query(&mut connection)?;
        if !keys.is_empty() {
            redis::cmd("UNLINK").arg(keys).query::<u64>(&mut connection)?;
        }
        if next == 0 {
            return Ok(());
        }
        cursor = next;
    }
}

fn redis_version(url: &str) -> anyhow::Result<String> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    let info: String = redis::cmd("INFO").arg("server").query(&mut connection)?;
    let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
    Ok(version.context("INFO tells no version")?.trim().to_owned())
}

/// The version of the broker's jar in Maven's file.
fn kafka_version(pom: &str) -> Option<String> {
    let (_, after) = pom.split_once("<artifactId>kafka_")?;
    let (_, version) = after.split_once("<version>")?;
    Some(version.split_once('<')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_and_versions_are_read() {
        let line = "database up     127.0.0.1:23306 pid 123";
        assert_eq!(process(line), Some(("database".to_owned(), 123)));
        assert_eq!(process("redis    down   127.0.0.1:23379 pid -"), None);
        let pom = include_str!("../../../scripts/kafka/pom.xml");
        assert!(
            kafka_version(pom)
                .is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
        );
    }
}
