//! The report: a standard set side by side.

use clap::Args;

/// Settings of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportSettings {
    /// A short set, within five minutes.
    #[arg(long)]
    pub quick: bool,
}

/// Not built yet.
pub async fn run(_settings: ReportSettings) -> anyhow::Result<bool> {
    anyhow::bail!("not built yet")
}
