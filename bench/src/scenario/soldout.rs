//! Refusals per second once nothing is left.

use clap::Args;

use crate::{cli::TargetArgs, found::Found};

/// Settings of `soldout`.
#[derive(Clone, Debug, Args)]
pub struct SoldoutSettings {
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Not built yet.
pub async fn run(_settings: SoldoutSettings) -> anyhow::Result<Found> {
    anyhow::bail!("not built yet")
}
