//! What the servers alone can do, each by itself: what no design on this machine can be faster than.
//!
//! The statements, scripts, records and buffers are the shop's own; around them is as little as possible.

mod batches;
mod echo;
mod echo_client;
mod log;
mod reservation;
mod scripts;

use clap::{Args, ValueEnum};

pub use self::echo::serve as serve_echo;
use super::timing::Pace;
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
    /// What to measure.
    #[arg(long, value_enum, value_name = "PART,…", value_delimiter = ',', default_values_t = [Part::Batches, Part::Scripts, Part::Log, Part::Echo])]
    pub parts: Vec<Part>,
    #[command(flatten)]
    pub pace: Pace,
    #[command(flatten)]
    pub batches: batches::BatchSettings,
    #[command(flatten)]
    pub scripts: scripts::ScriptSettings,
    #[command(flatten)]
    pub log: log::LogSettings,
    #[command(flatten)]
    pub echo: echo::EchoSettings,
}

/// One of the servers' abilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Orders written in batches under the row lock.
    Batches,
    /// Orders reserved by the script.
    Scripts,
    /// Records appended to the log.
    Log,
    /// WebSocket frames sent back.
    Echo,
}

/// Measures the parts one after the other.
pub async fn run(settings: CeilingSettings) -> anyhow::Result<Found> {
    let mut found = Found::new("ceiling");
    settings.pace.describe(&mut found);
    for part in &settings.parts {
        match part {
            Part::Batches => {
                batches::measure(&settings.database_url, &settings.batches, settings.pace, &mut found)
                    .await?;
            }
            Part::Scripts => {
                scripts::measure(&settings.redis_url, &settings.scripts, settings.pace, &mut found).await?;
            }
            Part::Log => {
                log::measure(&settings.kafka_brokers, &settings.log, settings.pace, &mut found).await?;
            }
            Part::Echo => echo::measure(&settings.echo, settings.pace, &mut found).await?,
        }
    }
    Ok(found)
}
