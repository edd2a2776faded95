//! Orders of shoppers who all hold a pass.

use clap::Args;

use crate::{cli::TargetArgs, found::Found};

/// Settings of `orders`.
#[derive(Clone, Debug, Args)]
pub struct OrdersSettings {
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Not built yet.
pub async fn run(_settings: OrdersSettings) -> anyhow::Result<Found> {
    anyhow::bail!("not built yet")
}
