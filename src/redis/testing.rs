//! Redis servers of a test's own, to be paused, killed and started again. Each starts within a few milliseconds.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use fred::{
    interfaces::ClientLike,
    types::{ClusterHash, CustomCommand, Value},
};
use tempfile::TempDir;
use tokio::time::Instant;

use super::{Redis, RedisSettings};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the condition holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Settings for tests: everything is noticed soon.
pub fn quick(url: impl Into<String>) -> RedisSettings {
    RedisSettings {
        prefix: format!("{}:", panicbuy_test_servers::own_name()),
        connections: 2,
        start_wait: Duration::from_secs(5),
        connect_timeout: Duration::from_millis(500),
        command_timeout: Duration::from_millis(500),
        reconnect_max: Duration::from_millis(200),
        probe_every: Duration::from_millis(100),
        ..RedisSettings::new(url)
    }
}

/// A server and a connection to it.
pub async fn own() -> (OwnRedis, Redis) {
    let server = OwnRedis::start(&[]);
    let redis = Redis::connect(&quick(server.url())).await.unwrap();
    (server, redis)
}

/// Sends a command that only tests need.
pub async fn tell(redis: &Redis, command: &'static str, arguments: &[&str]) {
    let command = CustomCommand::new_static(command, ClusterHash::FirstKey, false);
    let arguments = arguments.iter().map(|argument| Value::from(*argument)).collect();
    redis.commands().custom::<Value, Value>(command, arguments).await.unwrap();
}

/// A server that ends with this value.
pub struct OwnRedis {
    folder: TempDir,
    port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl OwnRedis {
    /// Starts a server that keeps nothing when it ends.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    /// Starts a server beside the files in a folder.
    pub fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut server = Self { folder, port: 0, arguments, child: None };
        loop {
            server.port = free_port();
            if server.try_start() {
                return server;
            }
        }
    }

    /// Starts the server again after [`Self::kill`], and waits until it listens.
    pub fn start_again(&mut self) {
        assert!(self.try_start(), "the port {} was taken meanwhile", self.port);
    }

    /// Whether the server listens. It does not if somebody else took the port.
    fn try_start(&mut self) -> bool {
        let port = self.port.to_string();
        let tls = self.arguments.iter().any(|argument| argument.starts_with("--tls"));
        let (plain, encrypted) = if tls { ("0", port.as_str()) } else { (port.as_str(), "0") };
        let child = Command::new("redis-server")
            .args(["--port", plain, "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
            .args(if tls { vec!["--tls-port", encrypted] } else { Vec::new() })
            .args(&self.arguments)
            .current_dir(self.folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let child = self.child.insert(child);
        let deadline = std::time::Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            if answers(self.port, tls) {
                return true;
            }
            assert!(std::time::Instant::now() < deadline, "redis-server does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn pause(&self) {
        self.signal("STOP");
    }

    pub fn resume(&self) {
        self.signal("CONT");
    }

    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.as_ref().expect("the server runs").id().to_string();
        let status = Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap();
        assert!(status.success());
    }
}

/// An encrypted server is only asked whether it listens.
fn answers(port: u16, tls: bool) -> bool {
    let Ok(mut connection) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    if tls {
        return true;
    }
    let mut answer = [0];
    connection.write_all(b"PING\r\n").is_ok() && connection.read_exact(&mut answer).is_ok()
}

/// A port that no other test of this process gets, below those that outgoing connections use.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = std::process::id().wrapping_mul(20).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(10_000 + next % 13_000).expect("below 23,000");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Drop for OwnRedis {
    fn drop(&mut self) {
        self.kill();
    }
}
