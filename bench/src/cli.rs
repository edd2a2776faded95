//! The command line: scenarios, and what they share. Each scenario keeps its own settings beside its code.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    baseline::{ceiling::CeilingSettings, classic::ClassicSettings},
    report::ReportSettings,
    scenario::{
        crowd::CrowdSettings, orders::OrdersSettings, soldout::SoldoutSettings, stampede::StampedeSettings,
    },
};

/// Load tests for a PanicBuying deployment, and the measurements that prove its speed.
#[derive(Debug, Parser)]
#[command(name = "panicbuy-bench", version, max_term_width = 110)]
pub struct Cli {
    /// Threads of the load generator.
    #[arg(long, global = true, value_name = "N", default_value_t = 2)]
    pub threads: usize,
    /// Write the result to this file, as JSON.
    #[arg(long, global = true, value_name = "FILE")]
    pub json: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// A whole sale: a lobby, the opening, everybody buys when admitted; then the auditor.
    Stampede(StampedeSettings),
    /// Orders of shoppers who all hold a pass; finds the highest rate within the latency bounds.
    Orders(OrdersSettings),
    /// Refusals per second once nothing is left.
    Soldout(SoldoutSettings),
    /// Many sockets that wait: memory, and how long a frame for everybody takes.
    Crowd(CrowdSettings),
    /// What is usual today: one transaction for each order, on the same database.
    Classic(ClassicSettings),
    /// What the servers alone can do: batched inserts, scripts, the log, an echo.
    Ceiling(CeilingSettings),
    /// A standard set of all of these side by side, as JSON, a page and Markdown.
    Report(Box<ReportSettings>),
    /// The server of `ceiling`'s echo: says where it listens, and ends with its standard input.
    #[command(hide = true)]
    EchoServer,
    /// Some of `crowd`'s sockets: obeys its standard input, one line of JSON for each order.
    #[command(hide = true)]
    CrowdWorker,
}

/// The deployment under test.
#[derive(Clone, Debug, Args)]
pub struct TargetArgs {
    /// Gateways, `ws://host:port`; sockets are spread over them in turn.
    #[arg(long, value_name = "URL,…", value_delimiter = ',', default_value = "ws://127.0.0.1:8080")]
    pub target: Vec<String>,
    /// Loads a machine other than this one: its host, exactly as in `--target`.
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub confirm_target: Vec<String>,
    /// An administrator's e-mail address: shoppers are signed up in bulk, items and promos are made.
    #[arg(long, env = "PANICBUY_ADMIN_EMAIL", value_name = "EMAIL")]
    pub admin_email: String,
    /// The administrator's password.
    #[arg(long, env = "PANICBUY_ADMIN_PASSWORD", value_name = "PASSWORD", hide_env_values = true)]
    pub admin_password: String,
    /// Draws schedules and request ids: the same seed, the same load.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}
