//! Orders of shoppers who all hold a pass before the clock starts: one socket and one order each, for one hot promo.
//!
//! Without `--rate` the highest rate is searched at which every order has its outcome and the 99th percentiles stay within their
//! bounds; it is then repeated, and half of it too. A rate is reported if more than half of its repeats hold; all of them are
//! told. The auditor looks at every round.

mod round;

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use clap::Args;

use self::round::{Bounds, Hall, Measured};
use crate::{
    arrivals::{Rate, Spacing},
    auditor,
    cli::TargetArgs,
    found::{Found, count, median},
    progress::tell,
    search::Search,
};

/// A rate that did not hold in most repeats is lowered to this share, so often at most.
const STEP_DOWN: f64 = 0.88;
const STEPS_DOWN: u32 = 8;
/// A rate fails in the search if it does not hold so often in a row: other programs share the machine.
const TRIES: u32 = 2;

/// Settings of `orders`.
#[derive(Clone, Debug, Args)]
pub struct OrdersSettings {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Shoppers, each with a socket: the most orders of one round.
    #[arg(long, value_name = "N", default_value_t = 8000)]
    pub shoppers: u32,
    /// Orders per second. Unset: the highest rate within the bounds is searched.
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// The rate rises from this to `--rate` in the course of a round.
    #[arg(long, value_name = "N", requires = "rate")]
    pub rising_from: Option<f64>,
    /// The rate that the search begins with.
    #[arg(long, value_name = "N", default_value_t = 1000.0)]
    pub start_rate: f64,
    /// How long a round lasts, in seconds, warm-up included.
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub duration_s: f64,
    /// The first seconds of a round are not measured.
    #[arg(long, value_name = "S", default_value_t = 0.5)]
    pub warm_up_s: f64,
    /// Rounds at each rate that is reported.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeats: u32,
    /// The bound on the 99th percentile of `accepted`, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 100.0)]
    pub accepted_within_ms: f64,
    /// The bound on the 99th percentile of `outcome`, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 250.0)]
    pub outcome_within_ms: f64,
    /// How orders are spaced.
    #[arg(long, value_enum, default_value_t = Spacing::Poisson)]
    pub spacing: Spacing,
    /// Sockets opened in each second.
    #[arg(long, value_name = "N", default_value_t = 900)]
    pub connects_per_s: u32,
    /// Processes of this machine whose processor time is told, `name=pid`.
    #[arg(long, value_name = "NAME=PID,…", value_delimiter = ',', value_parser = crate::process::named)]
    pub processes: Vec<(String, u32)>,
}

/// Measures, and audits every round.
pub async fn run(settings: OrdersSettings) -> anyhow::Result<Found> {
    let mut found = describe(&settings);
    let mut hall = Hall::open(&settings).await?;
    match settings.rate {
        Some(rate) => at_rate(&mut hall, &settings, rate, &mut found).await?,
        None => highest(&mut hall, &settings, &mut found).await?,
    }
    hall.close(&mut found).await?;
    Ok(found)
}

fn describe(settings: &OrdersSettings) -> Found {
    let mut found = Found::new("orders");
    found.set("shoppers", settings.shoppers);
    found.set("gateways", settings.target.target.len());
    found.set("duration_s", settings.duration_s);
    found.set("warm_up_s", settings.warm_up_s);
    found.set("repeats", settings.repeats);
    found.set("accepted_within_ms", settings.accepted_within_ms);
    found.set("outcome_within_ms", settings.outcome_within_ms);
    found.set("spacing", format!("{:?}", settings.spacing).to_lowercase());
    found.set("seed", settings.target.seed);
    found
}

/// Repeats one rate, whatever comes of it.
async fn at_rate(
    hall: &mut Hall<'_>,
    settings: &OrdersSettings,
    rate: f64,
    found: &mut Found,
) -> anyhow::Result<()> {
    let from = settings.rising_from.unwrap_or(rate);
    let shape = Rate { from_per_s: from, to_per_s: rate, over: settings.duration() };
    let mut rounds = Vec::new();
    for _ in 0..settings.repeats {
        rounds.push(hall.round(shape).await?);
    }
    found.set("rate", rate);
    found.set("rising_from", from);
    note(found, "", &rounds);
    found.series.insert("cpu_us_per_order_over_orders".to_owned(), cost_over_orders(&rounds));
    Ok(())
}

/// Searches the highest rate, repeats it until every repeat holds, and measures half of it.
async fn highest(hall: &mut Hall<'_>, settings: &OrdersSettings, found: &mut Found) -> anyhow::Result<()> {
    let bounds = Bounds { accepted_ms: settings.accepted_within_ms, outcome_ms: settings.outcome_within_ms };
    let constant = |rate| Rate::constant(rate, settings.duration());
    // A Poisson schedule has a few more arrivals than expected now and then.
    let limit = f64::from(settings.shoppers) / settings.duration_s * 0.95;
    hall.round(constant(settings.start_rate.min(limit) / 2.0)).await.context("the warm-up")?;
    let mut search = Search::new(settings.start_rate, limit);
    let mut tried = Vec::new();
    while let Some(rate) = search.next() {
        let mut held = false;
        for _ in 0..TRIES {
            let measured = hall.round(constant(rate)).await?;
            held = bounds.held(&measured);
            tried.push((measured.offered_per_s, measured.rate_per_s));
            if held {
                break;
            }
        }
        search.told(rate, held);
    }
    let mut rate = search.best().context("not even the lowest rate stayed within the bounds")?;
    let mut rounds = Vec::new();
    let holds =
        |rounds: &[Measured]| 2 * rounds.iter().filter(|round| bounds.held(round)).count() > rounds.len();
    for _ in 0..STEPS_DOWN {
        rounds.clear();
        for _ in 0..settings.repeats {
            rounds.push(hall.round(constant(rate)).await?);
        }
        if holds(&rounds) {
            break;
        }
        rate *= STEP_DOWN;
    }
    ensure!(holds(&rounds), "no rate stayed within the bounds in most repeats");
    found.set("rate", rate);
    found.note("search_capped", f64::from(u8::from(search.is_capped())));
    let peak = tried.iter().map(|(_, done)| *done).fold(0.0, f64::max);
    found.note("peak_rate_per_s", peak);
    found.series.insert("outcomes_per_s_over_offered_per_s".to_owned(), tried);
    note(found, "", &rounds);
    if let Some(last) = rounds.pop() {
        found.series.insert("due_per_s_over_s".to_owned(), last.due_over_s);
        found.series.insert("outcomes_per_s_over_s".to_owned(), last.outcomes_over_s);
    }
    let mut halves = Vec::new();
    for _ in 0..settings.repeats {
        halves.push(hall.round(constant(rate / 2.0)).await?);
    }
    note(found, "half_", &halves);
    Ok(())
}

impl OrdersSettings {
    fn duration(&self) -> std::time::Duration {
        std::time::Duration::from_secs_f64(self.duration_s)
    }
}

/// Notes the repeats of one rate: the middle of them, and the spread.
fn note(found: &mut Found, prefix: &str, rounds: &[Measured]) {
    let mut spread = |name: &str, value: fn(&Measured) -> f64| {
        let values: Vec<_> = rounds.iter().map(value).collect();
        found.note(&format!("{prefix}{name}"), median(&values).unwrap_or(0.0));
        found.note(&format!("{prefix}{name}_min"), values.iter().copied().fold(f64::INFINITY, f64::min));
        found.note(&format!("{prefix}{name}_max"), values.iter().copied().fold(0.0, f64::max));
    };
    spread("rate_per_s", |round| round.rate_per_s);
    spread("offered_per_s", |round| round.offered_per_s);
    spread("accepted_p99_ms", |round| round.accepted.at_ms(99.0));
    spread("outcome_p99_ms", |round| round.outcome.at_ms(99.0));
    spread("sent_late_p99_ms", |round| round.sent_late.at_ms(99.0));
    spread("refused", |round| count(round.refused.values().sum()));
    spread("other_cores", |round| round.other_cores);
    note_processor_time(found, prefix, rounds);
    for (name, pick) in [
        ("accepted", (|round| &round.accepted) as fn(&Measured) -> &crate::latency::Latencies),
        ("outcome", |round| &round.outcome),
    ] {
        let mut all = crate::latency::Latencies::new();
        for round in rounds {
            all.merge(pick(round));
        }
        found.latencies.insert(format!("{prefix}{name}"), all.percentiles());
    }
}

/// Processor time per order of each process, over all repeats.
fn note_processor_time(found: &mut Found, prefix: &str, rounds: &[Measured]) {
    let orders: f64 = rounds.iter().map(|round| round.orders).sum();
    let mut spent = BTreeMap::new();
    for (name, seconds) in rounds.iter().flat_map(|round| &round.cpu_s) {
        *spent.entry(name).or_insert(0.0) += seconds;
    }
    for (name, seconds) in spent {
        found.note(&format!("{prefix}cpu_us_per_order_{name}"), seconds * 1e6 / orders);
    }
}

/// Processor time per order of everything but the generator, round by round, over the orders so far.
fn cost_over_orders(rounds: &[Measured]) -> Vec<(f64, f64)> {
    let mut so_far = 0.0;
    let cost = |round: &Measured| {
        so_far += round.orders;
        let servers = round.cpu_s.iter().filter(|(name, _)| *name != "generator");
        (so_far, servers.map(|(_, seconds)| seconds).sum::<f64>() * 1e6 / round.orders)
    };
    rounds.iter().map(cost).collect()
}
