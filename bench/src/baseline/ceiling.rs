//! What the servers alone can do.

use clap::Args;

use crate::found::Found;

/// Settings of `ceiling`.
#[derive(Clone, Debug, Args)]
pub struct CeilingSettings {
    /// `mysql://user:password@host/database`; the user may create databases.
    #[arg(long, env = "PANICBUY_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: String,
    /// `redis://host:port`.
    #[arg(long, env = "PANICBUY_REDIS_URL", value_name = "URL", hide_env_values = true)]
    pub redis_url: String,
    /// `host:port`.
    #[arg(long, env = "PANICBUY_KAFKA_BROKERS", value_name = "HOST:PORT,…")]
    pub kafka_brokers: String,
}

/// Not built yet.
pub async fn run(_settings: CeilingSettings) -> anyhow::Result<Found> {
    anyhow::bail!("not built yet")
}
