//! The real servers that tests run against, as `scripts/services` gives them.
//!
//! Knows the script and the environment. A test asks for [`shared`] servers and keeps to names of its own there: a database,
//! a Redis prefix and a Kafka topic that nobody else uses (see [`own_name`]).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Where three servers answer.
#[derive(Clone, Debug)]
pub struct Servers {
    /// `mysql://user:password@host:port/database`; the user may create databases.
    pub database_url: String,
    /// `redis://host:port`.
    pub redis_url: String,
    /// `host:port`.
    pub kafka_brokers: String,
}

impl Servers {
    /// The database server's URL with another database's name.
    pub fn database(&self, name: &str) -> String {
        let (server, _) = self.database_url.rsplit_once('/').expect("a database URL ends with /NAME");
        format!("{server}/{name}")
    }
}

/// The servers that all tests share; started if they do not run yet, and left running.
///
/// `PANICBUY_TEST_DATABASE_URL`, if set, names another database server to test against.
///
/// # Panics
/// If the servers cannot be started: no promise can be tested without them.
#[expect(clippy::disallowed_methods, reason = "the product's settings are not those of its tests")]
pub fn shared() -> &'static Servers {
    static SHARED: OnceLock<Servers> = OnceLock::new();
    SHARED.get_or_init(|| {
        let mut servers = parse(&script(&["up"], &[]));
        if let Ok(url) = std::env::var("PANICBUY_TEST_DATABASE_URL") {
            servers.database_url = url;
        }
        servers
    })
}

/// A name that no other test uses, fit for databases, prefixes and topics.
#[expect(clippy::disallowed_methods, reason = "a name must not come again in a later run")]
pub fn own_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    format!("test_{now}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Servers of a test's own, to be stopped, paused and killed. They end with this value.
#[derive(Debug)]
pub struct OwnServers {
    pub servers: Servers,
    environment: Vec<(&'static str, String)>,
}

impl OwnServers {
    /// Starts a set in `folder`, on the ports from `base` on.
    pub fn start(folder: &Path, base: u16) -> Self {
        Self::start_only(folder, base, &["database", "redis", "kafka"])
    }

    /// Starts these of them only; where the others would answer is left empty.
    pub fn start_only(folder: &Path, base: u16, names: &[&str]) -> Self {
        let environment = vec![
            ("PANICBUY_SERVICES_DIR", folder.display().to_string()),
            ("PANICBUY_SERVICES_PORT", base.to_string()),
        ];
        let servers = parse(&script(&[&["up"], names].concat(), &environment));
        Self { servers, environment }
    }

    /// `stop`, `start`, `kill`, `pause` or `resume`, and `database`, `redis` or `kafka`.
    pub fn tell(&self, verb: &str, server: &str) {
        script(&[verb, server], &self.environment);
    }
}

impl Drop for OwnServers {
    fn drop(&mut self) {
        script(&["down"], &self.environment);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What `scripts/services` printed.
fn script(arguments: &[&str], environment: &[(&'static str, String)]) -> String {
    let output = Command::new(root().join("scripts/services"))
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
        .stderr(Stdio::inherit())
        .output()
        .expect("scripts/services runs");
    assert!(output.status.success(), "scripts/services {arguments:?} failed; see above");
    String::from_utf8(output.stdout).expect("scripts/services prints text")
}

fn parse(settings: &str) -> Servers {
    let settings: HashMap<&str, &str> = settings.lines().filter_map(|line| line.split_once('=')).collect();
    let setting = |name: &str| (*settings.get(name).unwrap_or(&"")).to_owned();
    Servers {
        database_url: setting("PANICBUY_DATABASE_URL"),
        redis_url: setting("PANICBUY_REDIS_URL"),
        kafka_brokers: setting("PANICBUY_KAFKA_BROKERS"),
    }
}
