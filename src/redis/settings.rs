//! Where Redis is, and every bound on talking to it.

use std::{path::PathBuf, time::Duration};

/// How to reach Redis.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://user:password@host:port/database` for one server, `redis-cluster://host:port?node=host:port` for a cluster;
    /// `rediss://` and `rediss-cluster://` with TLS.
    pub url: String,
    /// A file of PEM certificates to trust instead of the system's, for TLS.
    pub ca_file: Option<PathBuf>,
    /// What every key and channel begins with.
    pub prefix: String,
    /// Connections for commands, to each server.
    pub connections: usize,
    /// How long the start waits for Redis.
    pub start_wait: Duration,
    /// How long one attempt to connect may take, TLS included.
    pub connect_timeout: Duration,
    /// How long a command may take. A connection on which nothing comes back for so long is made anew.
    pub command_timeout: Duration,
    /// Commands that wait for a connection, each; more are refused at once.
    pub max_waiting_commands: usize,
    /// The first pause before connecting again; it doubles up to `reconnect_max`, and there is no last attempt.
    pub reconnect_min: Duration,
    pub reconnect_max: Duration,
    /// How often Redis is asked whether it is well.
    pub probe_every: Duration,
    /// Messages a listener may be behind its connection before some are lost (and read from the streams instead).
    pub message_buffer: usize,
}

impl RedisSettings {
    /// Defaults for everything but the address.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca_file: None,
            prefix: "panicbuy:".into(),
            connections: 4,
            start_wait: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_secs(2),
            max_waiting_commands: 10_000,
            reconnect_min: Duration::from_millis(50),
            reconnect_max: Duration::from_secs(2),
            probe_every: Duration::from_secs(1),
            message_buffer: 4096,
        }
    }
}
