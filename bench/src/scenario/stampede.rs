//! A whole sale, and its audit.

use clap::Args;

use crate::{cli::TargetArgs, found::Found};

/// Settings of `stampede`.
#[derive(Clone, Debug, Args)]
pub struct StampedeSettings {
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Not built yet.
pub async fn run(_settings: StampedeSettings) -> anyhow::Result<Found> {
    anyhow::bail!("not built yet")
}
