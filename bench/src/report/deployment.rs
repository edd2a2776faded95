//! A shop of the report's own: gateways and writers as processes on free loopback ports, with nothing on the servers that
//! was there before, and nothing left behind.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use tempfile::TempDir;
use uuid::Uuid;

use super::services::Services;
use crate::process::Server;

/// The administrator of every deployment; the password is drawn anew.
pub const ADMIN_EMAIL: &str = "admin@bench.example";

/// Which set of engines runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Engines {
    /// Gateways and writers on a database server, Redis and Kafka.
    Cluster,
    /// One process with everything inside.
    Embedded,
}

/// How many processes of each role, and with which further settings.
#[derive(Clone, Debug)]
pub struct Shape {
    pub engines: Engines,
    pub gateways: usize,
    pub writers: usize,
    pub flags: Vec<String>,
}

/// A running shop.
#[derive(Debug)]
pub struct Deployment {
    pub gateways: Vec<Server>,
    pub writers: Vec<Server>,
    pub admin_password: String,
    /// The name of its database, topic, group and prefix.
    name: String,
    services: Option<Services>,
    folder: TempDir,
}

impl Deployment {
    /// Starts a shop. `program` is `panicbuy`; its files go into a folder beneath `folder`.
    pub async fn start(
        program: &Path,
        folder: &Path,
        services: &Services,
        shape: &Shape,
    ) -> anyhow::Result<Self> {
        let random = Uuid::new_v4().simple().to_string();
        let folder = tempfile::Builder::new().prefix("panicbuy-bench-").tempdir_in(folder)?;
        let services = (shape.engines == Engines::Cluster).then(|| services.clone());
        let mut deployment = Self {
            gateways: Vec::new(),
            writers: Vec::new(),
            admin_password: random.clone(),
            name: format!("bench_{}", &random[..12]),
            services,
            folder,
        };
        if let Err(error) = deployment.start_all(program, shape).await {
            // What could not be started must not be left behind either.
            deployment.stop().await?;
            return Err(error);
        }
        Ok(deployment)
    }

    async fn start_all(&mut self, program: &Path, shape: &Shape) -> anyhow::Result<()> {
        if let Some(services) = &self.services {
            services.create_database(&self.name).await?;
        }
        let flags = |role| self.flags(shape, role);
        let (gateway, writer) = (flags("gateway")?, flags("writer")?);
        for _ in 0..shape.gateways {
            self.gateways.push(Server::start(program, &gateway, self.folder.path()).await?);
        }
        for _ in 0..shape.writers {
            self.writers.push(Server::start(program, &writer, self.folder.path()).await?);
        }
        Ok(())
    }

    fn flags(&self, shape: &Shape, role: &str) -> anyhow::Result<Vec<String>> {
        let mut flags = shape.flags.clone();
        let mut add = |name: &str, value: &str| flags.extend([format!("--{name}"), value.to_owned()]);
        add("admin-email", ADMIN_EMAIL);
        add("admin-password", &self.admin_password);
        if let Some(services) = &self.services {
            add("role", role);
            add("database-url", &services.database(&self.name)?);
            add("redis-url", &services.redis_url);
            add("redis-prefix", &format!("{}:", self.name));
            add("kafka-brokers", &services.kafka_brokers);
            add("kafka-topic", &self.name);
            add("kafka-group", &self.name);
            add("token-secret", &self.admin_password);
        }
        Ok(flags)
    }

    /// The gateways' URLs, as `--target` wants them.
    pub fn target(&self) -> String {
        self.gateways.iter().map(Server::url).collect::<Vec<_>>().join(",")
    }

    /// All processes by name, the servers' among them.
    pub fn processes(&self) -> Vec<(String, u32)> {
        let named = |name: &str, server: &Server| (name.to_owned(), server.pid());
        let gateways = self.gateways.iter().map(|server| named("gateway", server));
        let writers = self.writers.iter().map(|server| named("writer", server));
        let services = self.services.iter().flat_map(|services| services.processes.clone());
        gateways.chain(writers).chain(services).collect()
    }

    /// Ends all processes, and deletes what they left on the servers.
    pub async fn stop(self) -> anyhow::Result<()> {
        for server in self.gateways.into_iter().chain(self.writers) {
            server.stop().await?;
        }
        if let Some(services) = &self.services {
            services.forget(&self.name).await?;
        }
        Ok(())
    }
}

/// `panicbuy` beside this very program.
pub fn sibling() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe()?.with_file_name("panicbuy");
    anyhow::ensure!(
        program.exists(),
        "{} does not exist: build it (cargo build --release), or name one with --server-bin",
        program.display()
    );
    Ok(program)
}
