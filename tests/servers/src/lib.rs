//! The real servers that tests run against, as `scripts/services` gives them.
//!
//! Knows the script and the environment. A test asks for [`shared`] servers and keeps to names of its own there: a database,
//! a Redis prefix and a Kafka topic that nobody else uses (see [`own_name`]).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
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
/// `PANICBUY_TEST_DATABASE_URL` and `PANICBUY_TEST_KAFKA_BROKERS`, if set, name another database server and other brokers to test
/// against.
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
        if let Ok(brokers) = std::env::var("PANICBUY_TEST_KAFKA_BROKERS") {
            servers.kafka_brokers = brokers;
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

/// The base port of `scripts/services` where nothing else is said, and how many ports one set of servers needs from its base on.
const USUAL_BASE: u16 = 23_300;
const PORTS_OF_A_SET: u16 = 100;

/// The base port of the `nth` set of servers of tests' own, counted from 1. They follow the shared set's, so that two checkouts
/// whose shared sets are apart can be tested at the same time. Tests that may run at once need different ones.
///
/// # Panics
/// If `PANICBUY_SERVICES_PORT` is set to something that is no port.
#[expect(clippy::disallowed_methods, reason = "the product's settings are not those of its tests")]
pub fn own_ports(nth: u16) -> u16 {
    let base = std::env::var("PANICBUY_SERVICES_PORT");
    let base = base.map_or(USUAL_BASE, |base| base.parse().expect("PANICBUY_SERVICES_PORT is a port"));
    base + nth * PORTS_OF_A_SET
}

/// How long an outage lasts after it was noticed: `PANICBUY_TEST_OUTAGE_MS`, or a second.
///
/// # Panics
/// If it is set to something that is no number.
#[expect(clippy::disallowed_methods, reason = "the product's settings are not those of its tests")]
pub fn outage() -> Duration {
    let ms = std::env::var("PANICBUY_TEST_OUTAGE_MS");
    Duration::from_millis(ms.map_or(1_000, |ms| ms.parse().expect("PANICBUY_TEST_OUTAGE_MS is a number")))
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
        // Already known, so that what has started is ended if the rest does not.
        let nowhere = parse("");
        let mut own = Self { servers: nowhere, environment };
        own.servers = parse(&script(&[&["up"], names].concat(), &own.environment));
        own
    }

    /// `stop`, `start`, `kill`, `pause` or `resume`, and `database`, `redis` or `kafka`.
    pub fn tell(&self, verb: &str, server: &str) {
        script(&[verb, server], &self.environment);
    }
}

impl Drop for OwnServers {
    fn drop(&mut self) {
        let ended = run(&["down"], &self.environment).status.success();
        assert!(ended || std::thread::panicking(), "scripts/services down failed; see above");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(arguments: &[&str], environment: &[(&'static str, String)]) -> Output {
    Command::new(root().join("scripts/services"))
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
        .stderr(Stdio::inherit())
        .output()
        .expect("scripts/services runs")
}

/// What `scripts/services` printed.
fn script(arguments: &[&str], environment: &[(&'static str, String)]) -> String {
    let output = run(arguments, environment);
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
