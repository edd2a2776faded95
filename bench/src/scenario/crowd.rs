//! Many sockets that wait: what each costs, how long a frame for everybody takes, and what happens when all come back at once.
//!
//! Shoppers of their own each, in the waiting room of one promo, over all gateways. One shopper holds the only pass all the time,
//! so the line does not move, and what everybody hears is caused here: a few more shoppers join and leave. The sockets are held by
//! worker processes ([`worker`]), because one process may open only 20,000 files.

mod actors;
mod command;
pub mod frames;
mod machine;
mod shopper;
pub mod tiny;
mod worker;
mod workers;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::{Args, value_parser};
use rand::{Rng, SeedableRng, rngs::StdRng};
use tokio::net::lookup_host;

use self::{
    actors::{ACTORS, Actors},
    command::Command,
    workers::{Answers, Workers},
};
use crate::{
    cli::TargetArgs,
    found::Found,
    latency::Latencies,
    process::Meter,
    shop::{Sale, Shop},
    target::Target,
};

/// How long all together may take for each step.
const ENTER_WITHIN: Duration = Duration::from_mins(10);
const HEAR_WITHIN: Duration = Duration::from_mins(1);
const RETURN_WITHIN: Duration = Duration::from_mins(5);
/// How long, and how often, it is tried to end the promo.
const END_WITHIN: Duration = Duration::from_mins(1);
const END_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// A change comes at a random moment of the server's interval between broadcasts, which by default is as long.
const BROADCAST_INTERVAL_MS: u64 = 250;

/// Settings of `crowd`.
#[derive(Clone, Debug, Args)]
pub struct CrowdSettings {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Sockets, each of a shopper of its own.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=500_000))]
    pub sockets: u32,
    /// Sockets of one worker process.
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub sockets_per_worker: usize,
    /// Shoppers who come per second.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..))]
    pub enter_per_s: u32,
    /// Shoppers who join per second.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..))]
    pub join_per_s: u32,
    /// Changes that everybody has to hear of.
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..=10_000))]
    pub broadcasts: u32,
    /// Seconds of doing nothing, to see what waiting sockets cost.
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = value_parser!(u64).range(1..=3600))]
    pub idle: u64,
    /// How often all come back at once.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(0..=100))]
    pub storms: u32,
    /// Seconds over which the first attempts to come back are spread at random. 0: everybody at once.
    #[arg(long, value_name = "S", default_value_t = 0, value_parser = value_parser!(u64).range(0..=600))]
    pub storm_spread: u64,
    /// Process ids of the gateways, in the order of `--target`; by default those that listen there.
    #[arg(long, value_name = "PID,…", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
}

/// Some of the sockets: a worker process.
pub async fn work() -> anyhow::Result<()> {
    tokio::task::spawn_blocking(worker::run).await?
}

/// Gathers the crowd and measures it.
pub async fn run(settings: CrowdSettings) -> anyhow::Result<Found> {
    let mut found = Found::new("crowd");
    describe(&settings, &mut found);
    let shop = Shop::admin(&settings.target).await?;
    let pids = gateway_pids(&settings, shop.target())?;
    let targets = addresses(shop.target()).await?;
    let mut tokens: Vec<String> = Vec::new();
    for account in shop.sign_up(settings.sockets as usize + ACTORS).await? {
        tokens.push(account.token);
    }
    let sale = Sale { stock: settings.sockets + 1000, rate_per_s: 1, max_active: 1, ..Sale::default() };
    let promo = shop.publish(&sale).await?.id;
    let measured = async {
        let actors = Actors::enter(shop.target(), promo, tokens.split_off(settings.sockets as usize)).await?;
        let workers = Workers::start(tokens, settings.sockets_per_worker, promo, &targets).await?;
        found.set("workers", workers.count());
        let mut crowd = Crowd { settings: &settings, workers, actors, pids };
        crowd.gather(&mut found).await?;
        crowd.idle(&mut found).await?;
        crowd.hear_changes(&mut found).await?;
        for _ in 0..settings.storms {
            crowd.storm(&mut found).await?;
        }
        anyhow::Ok(())
    };
    let measured = measured.await;
    end(&shop, promo).await;
    measured?;
    Ok(found)
}

/// Ends the promo. The servers may still be busy with all who have gone; what was measured is worth having all the same.
async fn end(shop: &Shop, promo: i64) {
    let until = Instant::now() + END_WITHIN;
    while let Err(error) = shop.end(promo).await {
        if Instant::now() > until {
            eprintln!("crowd: promo {promo} is left running: {error:#}");
            return;
        }
        tokio::time::sleep(END_AGAIN_AFTER).await;
    }
}

fn describe(settings: &CrowdSettings, found: &mut Found) {
    found.set("gateways", settings.target.target.len());
    found.set("sockets", settings.sockets);
    found.set("sockets_per_worker", settings.sockets_per_worker);
    found.set("enter_per_s", settings.enter_per_s);
    found.set("join_per_s", settings.join_per_s);
    found.set("broadcasts", settings.broadcasts);
    found.set("storms", settings.storms);
    found.set("storm_spread_s", settings.storm_spread);
    found.set("seed", settings.target.seed);
}

async fn addresses(target: &Target) -> anyhow::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for gateway in target.gateways() {
        let host = gateway.host.trim_matches(['[', ']']);
        let address = lookup_host((host, gateway.port)).await?.next();
        addresses.push(address.with_context(|| format!("{host} has no address"))?);
    }
    Ok(addresses)
}

/// Nothing for gateways on other machines, whose memory and time cannot be seen.
fn gateway_pids(settings: &CrowdSettings, target: &Target) -> anyhow::Result<Vec<u32>> {
    let gateways = target.gateways();
    if !settings.server_pid.is_empty() {
        ensure!(
            settings.server_pid.len() == gateways.len(),
            "--server-pid names one process for each gateway"
        );
        return Ok(settings.server_pid.clone());
    }
    gateways
        .iter()
        .filter(|gateway| gateway.is_loopback())
        .map(|gateway| machine::listener(gateway.port))
        .collect()
}

/// Everybody, and those who look after them.
struct Crowd<'a> {
    settings: &'a CrowdSettings,
    workers: Workers,
    actors: Actors,
    pids: Vec<u32>,
}

impl Crowd<'_> {
    /// Everybody comes, joins, and then watches; what each has cost. Nobody watches while the room fills, or else every join
    /// would be news for all who joined before.
    async fn gather(&mut self, found: &mut Found) -> anyhow::Result<()> {
        let servers = machine::resting_rss(&self.pids).await?;
        let kernel = machine::kernel_bytes()?;
        let within_ms = millis(ENTER_WITHIN);
        let per_s = f64::from(self.settings.enter_per_s);
        let enter = |share| Command::Enter { per_s: per_s * share, within_ms };
        let entered = self.workers.ask_each(enter, ENTER_WITHIN).await?;
        self.note(found, "enter", &entered)?;
        let connected = machine::resting_rss(&self.pids).await?;
        let per_s = f64::from(self.settings.join_per_s);
        let join = |share| Command::Join { per_s: per_s * share, within_ms };
        let joined = self.workers.ask_each(join, ENTER_WITHIN).await?;
        self.note(found, "join", &joined)?;
        let watch = |share| Command::Watch { per_s: per_s * share, within_ms };
        let watching = self.workers.ask_each(watch, ENTER_WITHIN).await?;
        self.note(found, "watch", &watching)?;
        let waiting = machine::resting_rss(&self.pids).await?;
        let sockets = f64::from(self.settings.sockets);
        let each = |before: &[u64], after: &[u64]| (sum(after) - sum(before)) / sockets;
        if !self.pids.is_empty() {
            found.note("rss_bytes_per_connected_shopper", each(&servers, &connected));
            found.note("rss_bytes_per_waiting_shopper", each(&servers, &waiting));
            found.note("gateways_rss_bytes_before", sum(&servers));
            found.note("gateways_rss_bytes_waiting", sum(&waiting));
        }
        found.note("client_rss_bytes_per_socket", each(&[0], &[self.workers.rss_bytes()?]));
        found.note("kernel_bytes_per_socket_both_ends", each(&[kernel], &[machine::kernel_bytes()?]));
        Ok(())
    }

    /// What it costs that everybody waits.
    async fn idle(&mut self, found: &mut Found) -> anyhow::Result<()> {
        let meter = self.meter();
        tokio::time::sleep(Duration::from_secs(self.settings.idle)).await;
        found.note("idle_gateways_cores", spent(&meter) / meter.elapsed().as_secs_f64());
        Ok(())
    }

    /// How long it takes until everybody has heard of a change: over all sockets, and until the last.
    async fn hear_changes(&mut self, found: &mut Found) -> anyhow::Result<()> {
        let (mut each, mut last) = (Latencies::new(), Vec::new());
        let (mut cpu_s, mut took_s, mut missed) = (0.0, 0.0, 0);
        let mut dice = StdRng::seed_from_u64(self.settings.target.seed);
        for _ in 0..self.settings.broadcasts {
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..BROADCAST_INTERVAL_MS))).await;
            let change = self.actors.next_change().await?;
            let expect = Command::Expect { waiting: change.waiting };
            self.workers.ask(&expect, HEAR_WITHIN).await?;
            let meter = self.meter();
            let changed_us = self.actors.make(change).await?;
            let collect = Command::Collect { within_ms: millis(HEAR_WITHIN) };
            let heard = self.workers.ask(&collect, HEAR_WITHIN).await?;
            (cpu_s, took_s) = (cpu_s + spent(&meter), took_s + meter.elapsed().as_secs_f64());
            missed += heard.missing;
            let after = heard.moments_us.iter().map(|moment| moment.saturating_sub(changed_us));
            after.clone().for_each(|us| each.record(Duration::from_micros(us)));
            last.push(after.max().unwrap_or(0));
        }
        found.latencies.insert("queue_frame".to_owned(), each.percentiles());
        let all: Latencies = last.iter().map(|us| Duration::from_micros(*us)).collect();
        found.latencies.insert("queue_frame_to_everybody".to_owned(), all.percentiles());
        let broadcasts = f64::from(self.settings.broadcasts);
        found.note("gateways_cpu_s_per_broadcast", cpu_s / broadcasts);
        found.note("gateways_cpu_us_per_frame", cpu_s / broadcasts / f64::from(self.settings.sockets) * 1e6);
        found.note("gateways_cores_during_broadcasts", cpu_s / took_s);
        found.faults.insert("queue_frames_missed".to_owned(), u64::from(missed));
        Ok(())
    }

    /// All connections are lost at once, and everybody comes back at once, or within the spread. Counted from the loss.
    async fn storm(&mut self, found: &mut Found) -> anyhow::Result<()> {
        let meter = self.meter();
        let dropped = machine::connections_dropped()?;
        let spread_ms = self.settings.storm_spread * 1000;
        let storm = Command::Storm { spread_ms, within_ms: millis(RETURN_WITHIN) };
        let back = self.workers.ask(&storm, RETURN_WITHIN).await?;
        let cores = spent(&meter) / meter.elapsed().as_secs_f64();
        self.note(found, "return", &back)?;
        let last = Duration::from_micros(back.moments_us.iter().max().copied().unwrap_or(0));
        found.note("storm_all_welcomed_s", last.as_secs_f64());
        found.note("storm_gateways_cores", cores);
        found.note("storm_welcomes_per_s", f64::from(self.settings.sockets) / meter.elapsed().as_secs_f64());
        let dropped = machine::connections_dropped()?.saturating_sub(dropped);
        found.note("storm_connections_dropped", sum(&[dropped]));
        found.note("storm_attempts_failed", f64::from(back.tally.failed()));
        if !self.pids.is_empty() {
            found.note("gateways_rss_bytes_after_storm", sum(&machine::resting_rss(&self.pids).await?));
        }
        Ok(())
    }

    /// Notes how long each shopper took, and what went wrong on the way.
    fn note(&self, found: &mut Found, what: &str, answers: &Answers) -> anyhow::Result<()> {
        let took: Latencies = answers.moments_us.iter().map(|us| Duration::from_micros(*us)).collect();
        found.latencies.insert(what.to_owned(), took.percentiles());
        let tally = &answers.tally;
        found.set("sockets_lost", serde_json::to_value(&tally.lost)?);
        found.set("attempts_failed", serde_json::to_value(&tally.failed)?);
        found.set("error_frames", serde_json::to_value(&tally.errors)?);
        for (fault, count) in [
            ("sockets_lost", tally.lost()),
            ("places_moved", tally.moved),
            ("places_lost", tally.displaced),
            ("error_frames", tally.errors.values().sum()),
        ] {
            found.faults.insert(fault.to_owned(), u64::from(count));
        }
        found.faults.insert(format!("{what}_missing"), u64::from(answers.missing));
        eprintln!("crowd, {what}: {} of {}, {tally:?}", took.count(), self.settings.sockets);
        Ok(())
    }

    fn meter(&self) -> Meter {
        let gateways: Vec<(String, u32)> =
            self.pids.iter().map(|pid| ("gateways".to_owned(), *pid)).collect();
        Meter::start(&gateways)
    }
}

/// Processor seconds of all gateways.
fn spent(meter: &Meter) -> f64 {
    meter.read().values().sum()
}

#[expect(clippy::cast_precision_loss, reason = "bytes of one machine have fewer than 53 bits")]
fn sum(bytes: &[u64]) -> f64 {
    bytes.iter().sum::<u64>() as f64
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
