//! Many sockets that wait: memory, and how long a frame for everybody takes.

pub mod frames;
pub mod tiny;

use clap::Args;

use crate::{cli::TargetArgs, found::Found};

/// Settings of `crowd`.
#[derive(Clone, Debug, Args)]
pub struct CrowdSettings {
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Not built yet.
pub async fn run(_settings: CrowdSettings) -> anyhow::Result<Found> {
    anyhow::bail!("not built yet")
}

/// Not built yet.
pub async fn work() -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
