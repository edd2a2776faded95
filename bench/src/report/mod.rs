//! The report: the standard set side by side, on servers and a shop that it starts itself, as JSON, a page and Markdown.
//!
//! Each step is a command line of this very program, so that each can be made again by itself.

mod deployment;
mod machine;
mod markdown;
mod page;
mod plots;
mod services;
mod steps;
mod targets;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser};
use serde::{Deserialize, Serialize};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::{
    deployment::{ADMIN_EMAIL, Deployment, Engines, Shape},
    services::Services,
    steps::{On, Step},
    targets::{Results, Target},
};
use crate::{cli::Cli, found::Found, progress::tell};

/// The script that starts the servers, in the repository this program was built from.
const SERVICES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/services");

/// How long a step may take, so that a report ends also on a machine that is busy with other things.
const QUICK_STEP_WITHIN: Duration = Duration::from_mins(2);
const FULL_STEP_WITHIN: Duration = Duration::from_hours(2);

/// A load average above this means that other programs were at work. The steps before leave a little behind.
const QUIET: f64 = 3.0;

/// Settings of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportSettings {
    /// A short set, within five minutes.
    #[arg(long)]
    pub quick: bool,
    /// Only these steps.
    #[arg(long, value_name = "STEP,…", value_delimiter = ',')]
    pub only: Vec<String>,
    /// The engines of the shop under test.
    #[arg(long, value_enum, default_value_t = Engines::Cluster)]
    pub engines: Engines,
    /// Gateways of the shop under test.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub gateways: u8,
    /// Writers of the shop under test.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub writers: u8,
    /// The server's program; by default `panicbuy` beside this one.
    #[arg(long, value_name = "FILE")]
    pub server_bin: Option<PathBuf>,
    /// Further settings of every server, such as `--server-flag=--writer-batch=2000`. They are told in the report.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub server_flag: Vec<String>,
    /// Orders of the long run in the full report.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub long_orders: u32,
    /// The script that starts database, Redis and Kafka.
    #[arg(long, value_name = "FILE", default_value = SERVICES, hide_default_value = true)]
    pub services: PathBuf,
    /// Where servers keep their files while they run: a disk like the one a shop would have. By default beside this program.
    #[arg(long, value_name = "FOLDER")]
    pub folder: Option<PathBuf>,
    /// The page to write.
    #[arg(long, value_name = "FILE", default_value = "bench-report.html")]
    pub html: PathBuf,
    /// Write the report as Markdown, too.
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}

/// Everything that was found, and where and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub targets: Vec<Target>,
    /// The command that makes the report again.
    pub command: String,
    pub made_at: String,
    pub machine: BTreeMap<String, String>,
    pub versions: BTreeMap<String, String>,
    /// What differs from the servers' defaults.
    pub server_settings: Vec<String>,
    pub gateways: u8,
    pub writers: u8,
    pub engines: String,
    pub steps: Vec<Done>,
}

/// A step that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Done {
    pub name: String,
    /// Its command line, without what names the deployment.
    pub command: String,
    /// The machine's load average right before it.
    pub load_before: f64,
    pub took_s: f64,
    pub found: Option<Found>,
    /// Why it failed.
    pub error: Option<String>,
}

impl Report {
    /// The highest load average before a step, if the machine was not quiet then: its figures are too low.
    pub fn busy(&self) -> Option<f64> {
        let highest = self.steps.iter().map(|step| step.load_before).fold(0.0, f64::max);
        (highest > QUIET).then_some(highest)
    }
}

/// Runs all steps and writes the report. Whether no promise was broken: a target that is missed is a result, not a failure.
pub async fn run(settings: ReportSettings, json: Option<&Path>) -> anyhow::Result<bool> {
    let program = settings.server_bin.clone().map_or_else(deployment::sibling, Ok)?;
    tell("starting database, Redis and Kafka");
    let services = Services::up(settings.services.clone()).await?;
    let report = make(&settings, &program, &services).await;
    services.down().await?;
    let report = report?;
    let text = serde_json::to_string_pretty(&report)?;
    tokio::fs::write(json.unwrap_or(Path::new("bench-report.json")), text).await?;
    tokio::fs::write(&settings.html, page::render(&report)?).await?;
    let markdown = markdown::render(&report);
    if let Some(file) = &settings.markdown {
        tokio::fs::write(file, &markdown).await?;
    }
    println!("{markdown}");
    tell(format_args!("the page is {}", settings.html.display()));
    let faulty = report.steps.iter().any(|step| step.found.as_ref().is_none_or(Found::is_faulty));
    Ok(!faulty)
}

/// Cancelled when the program is asked to stop, so that a shop can still be taken down and its traces be deleted.
fn asked_to_stop() -> anyhow::Result<CancellationToken> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        asked.cancel();
    });
    Ok(stop)
}

async fn make(settings: &ReportSettings, program: &Path, services: &Services) -> anyhow::Result<Report> {
    let asked = asked_to_stop()?;
    let gateways = usize::from(settings.gateways);
    let mut steps = if settings.quick {
        steps::quick(settings.engines, gateways)
    } else {
        steps::full(settings.engines, gateways, settings.long_orders)
    };
    steps.retain(|step| settings.only.is_empty() || settings.only.iter().any(|name| name == step.name));
    let mut results = Results::new();
    let mut done = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        tell(format_args!("step {} of {}: {}", number + 1, steps.len(), step.name));
        let one = take(settings, program, services, step, &results, &asked).await;
        ensure!(!asked.is_cancelled(), "stopped");
        if let Some(found) = &one.found {
            results.insert(step.name.to_owned(), found.clone());
        }
        done.push(one);
    }
    let mut versions = services.versions().await?;
    versions.insert("panicbuy".to_owned(), machine::told(program, &["--version"]).await);
    versions.insert("revision".to_owned(), revision().await);
    Ok(Report {
        targets: targets::judge(&results, !settings.quick),
        command: command(settings),
        made_at: format!("{:.0}", jiff::Timestamp::now()),
        machine: machine::describe(),
        versions,
        server_settings: settings.server_flag.clone(),
        gateways: settings.gateways,
        writers: settings.writers,
        engines: format!("{:?}", settings.engines).to_lowercase(),
        steps: done,
    })
}

/// Makes one step. What fails is told in the report, and the others go on.
async fn take(
    settings: &ReportSettings,
    program: &Path,
    services: &Services,
    step: &Step,
    results: &Results,
    asked: &CancellationToken,
) -> Done {
    let (load_before, began) = (machine::load(), Instant::now());
    let rate = results.get("orders").and_then(|found| found.numbers.get("rate_per_s"));
    let mut arguments = step.arguments.clone();
    if let (Some(share), Some(rate)) = (step.share_of_orders, rate) {
        arguments.extend(["--rate".to_owned(), format!("{:.0}", rate * share)]);
    }
    let command = format!("panicbuy-bench {}", arguments.join(" "));
    let made = if step.share_of_orders.is_some() && rate.is_none() {
        Err(anyhow::anyhow!("the step `orders` has to find a rate first"))
    } else {
        measure(settings, program, services, step, arguments, asked).await
    };
    if let Err(error) = &made {
        tell(format_args!("{} failed: {error:#}", step.name));
    }
    let (found, error) = match made {
        Ok(found) => (Some(found), None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    Done {
        name: step.name.to_owned(),
        command,
        load_before,
        took_s: began.elapsed().as_secs_f64(),
        found,
        error,
    }
}

async fn measure(
    settings: &ReportSettings,
    program: &Path,
    services: &Services,
    step: &Step,
    mut arguments: Vec<String>,
    asked: &CancellationToken,
) -> anyhow::Result<Found> {
    let within = if settings.quick { QUICK_STEP_WITHIN } else { FULL_STEP_WITHIN };
    let mut add = |name: &str, value: &str| arguments.extend([format!("--{name}"), value.to_owned()]);
    let On::Shop { engines, gateways } = step.on else {
        add("database-url", &services.database_url);
        if step.name == "ceiling" {
            add("redis-url", &services.redis_url);
            add("kafka-brokers", &services.kafka_brokers);
        }
        return scenario(&arguments, within, asked).await;
    };
    let folder = match &settings.folder {
        Some(folder) => folder.clone(),
        None => std::env::current_exe()?.parent().context("a program lies in a folder")?.to_owned(),
    };
    let writers = if engines == Engines::Cluster { usize::from(settings.writers) } else { 0 };
    let shape = Shape { engines, gateways, writers, flags: settings.server_flag.clone() };
    let shop = Deployment::start(program, &folder, services, &shape).await?;
    add("target", &shop.target());
    add("admin-email", ADMIN_EMAIL);
    add("admin-password", &shop.admin_password);
    if matches!(arguments[0].as_str(), "orders" | "soldout") {
        let processes: Vec<_> = shop.processes().iter().map(|(name, pid)| format!("{name}={pid}")).collect();
        arguments.extend(["--processes".to_owned(), processes.join(",")]);
    }
    let found = scenario(&arguments, within, asked).await;
    shop.stop().await?;
    found
}

async fn scenario(
    arguments: &[String],
    within: Duration,
    asked: &CancellationToken,
) -> anyhow::Result<Found> {
    let line = std::iter::once("panicbuy-bench").chain(arguments.iter().map(String::as_str));
    let cli = Cli::try_parse_from(line).context("a step is not understood")?;
    tokio::select! {
        measured = timeout(within, crate::measure(cli.command)) => measured.context("the step took too long")?,
        () = asked.cancelled() => bail!("stopped"),
    }
}

fn command(settings: &ReportSettings) -> String {
    let mut line = "panicbuy-bench report".to_owned();
    let mut add = |text: &str| line.extend([" ", text]);
    if settings.quick {
        add("--quick");
    }
    if !settings.only.is_empty() {
        add(&format!("--only {}", settings.only.join(",")));
    }
    if settings.engines == Engines::Embedded {
        add("--engines embedded");
    }
    if (settings.gateways, settings.writers) != (1, 1) {
        add(&format!("--gateways {} --writers {}", settings.gateways, settings.writers));
    }
    settings.server_flag.iter().for_each(|flag| add(&format!("--server-flag={flag}")));
    line
}

/// The commit that is checked out where this program was built, with a mark if files differ from it.
async fn revision() -> String {
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    machine::told(Path::new("git"), &["-C", repository, "describe", "--always", "--dirty", "--exclude=*"])
        .await
}
