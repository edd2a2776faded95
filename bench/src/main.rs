//! `panicbuy-bench`: load tests for a PanicBuying deployment, and the measurements that prove its speed.
//!
//! The harness sees only the wire contract. Arrivals are open-loop: a latency counts from the moment the shopper meant to
//! act, whether or not the generator or the server was in time.

mod arrivals;
mod auditor;
mod baseline;
mod cli;
mod crew;
mod found;
mod heard;
mod latency;
mod process;
mod progress;
mod report;
mod scenario;
mod search;
mod shop;
mod shopper;
mod socket;
mod target;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use found::Found;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cli.threads)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    match runtime.block_on(run(cli)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the command; whether every promise was kept.
async fn run(cli: Cli) -> anyhow::Result<bool> {
    let json = cli.json.as_deref();
    match cli.command {
        Command::Report(settings) => report::run(*settings, json).await,
        Command::EchoServer => baseline::ceiling::serve_echo().await.map(|()| true),
        Command::CrowdWorker => scenario::crowd::work().await.map(|()| true),
        command => {
            let found = measure(command).await?;
            show(&found, json).await?;
            Ok(!found.is_faulty())
        }
    }
}

/// Runs one scenario or baseline.
async fn measure(command: Command) -> anyhow::Result<Found> {
    match command {
        Command::Stampede(settings) => scenario::stampede::run(settings).await,
        Command::Orders(settings) => scenario::orders::run(settings).await,
        Command::Soldout(settings) => scenario::soldout::run(settings).await,
        Command::Crowd(settings) => scenario::crowd::run(settings).await,
        Command::Classic(settings) => baseline::classic::run(settings).await,
        Command::Ceiling(settings) => baseline::ceiling::run(settings).await,
        Command::Report(_) | Command::EchoServer | Command::CrowdWorker => {
            anyhow::bail!("this command measures nothing by itself")
        }
    }
}

/// Prints the result, and writes it to a file if one was named.
async fn show(found: &Found, file: Option<&std::path::Path>) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(found)?;
    if let Some(file) = file {
        tokio::fs::write(file, &text).await?;
    }
    println!("{text}");
    Ok(())
}
