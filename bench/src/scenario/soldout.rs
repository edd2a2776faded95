//! Refusals once nothing is left: many shoppers keep ordering what is sold out. Each frame is a new order.
//!
//! The server's own limits apply: `--orders-per-user-per-s` and `--frames-per-socket-per-s` say what they are, and the
//! load stays below them, because a refusal for being too fast is no refusal for being too late.

mod hammer;

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};

use self::hammer::{Hammers, Measured};
use crate::{
    arrivals::{Rate, Spacing},
    cli::TargetArgs,
    crew::{Crew, Plan},
    found::{Found, count, median},
    latency::Latencies,
    process::Meter,
    progress::tell,
    search::Search,
    shop::{Sale, Shop},
};

/// The share of the server's limits that is used: a Poisson process has bursts.
const BELOW_LIMITS: f64 = 0.8;
/// A rate holds if this share of it was answered in time.
const ANSWERED: f64 = 0.98;
/// How long the one unit may take to be sold.
const SOLD_WITHIN: Duration = Duration::from_secs(30);

/// What is sold out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Ware {
    /// A promo; who comes now has no pass, and none will be given.
    Promo,
    /// An item at its list price.
    Item,
}

/// Settings of `soldout`.
#[derive(Clone, Debug, Args)]
pub struct SoldoutSettings {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Shoppers, each with a socket.
    #[arg(long, value_name = "N", default_value_t = 4000)]
    pub shoppers: u32,
    /// What is sold out.
    #[arg(long, value_enum, default_value_t = Ware::Promo)]
    pub ware: Ware,
    /// Orders per second. Unset: the highest rate within the bound is searched.
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// The rate that the search begins with.
    #[arg(long, value_name = "N", default_value_t = 8000.0)]
    pub start_rate: f64,
    /// How long each rate is kept up, in seconds.
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub duration_s: f64,
    /// Runs at the rate that is reported.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeats: u32,
    /// The bound on the 99th percentile of `refused`, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 100.0)]
    pub refused_within_ms: f64,
    /// The server's setting.
    #[arg(long, value_name = "N", default_value_t = 10.0)]
    pub orders_per_user_per_s: f64,
    /// The server's setting.
    #[arg(long, value_name = "N", default_value_t = 50.0)]
    pub frames_per_socket_per_s: f64,
    /// Sockets opened in each second.
    #[arg(long, value_name = "N", default_value_t = 900)]
    pub connects_per_s: u32,
    /// Processes of this machine whose processor time is told, `name=pid`.
    #[arg(long, value_name = "NAME=PID,…", value_delimiter = ',', value_parser = crate::process::named)]
    pub processes: Vec<(String, u32)>,
}

/// Sells the one unit there is, and measures what everybody else is told.
pub async fn run(settings: SoldoutSettings) -> anyhow::Result<Found> {
    let shop = Shop::admin(&settings.target).await?;
    let ware = sell_out(&shop, &settings).await?;
    tell(format_args!("sold out; {} shoppers come in", settings.shoppers));
    let mut hammers = Hammers::gather(&shop, &settings, &ware).await?;
    let limit = f64::from(settings.shoppers)
        * settings.orders_per_user_per_s.min(settings.frames_per_socket_per_s)
        * BELOW_LIMITS;
    let mut found = describe(&settings);
    let rate = match settings.rate {
        Some(rate) => {
            ensure!(rate <= limit, "{rate}/s is beyond the server's limits: {limit}/s with so many shoppers");
            rate
        }
        None => highest(&mut hammers, &settings, limit, &mut found).await?,
    };
    found.set("rate", rate);
    let meter = Meter::start(&processes(&settings));
    let mut runs = Vec::new();
    for _ in 0..settings.repeats {
        runs.push(hammer(&mut hammers, &settings, rate).await?);
    }
    let cpu = meter.read();
    note(&mut found, &runs);
    let refusals: usize = runs.iter().map(|run| run.refused.count()).sum();
    for (name, seconds) in cpu {
        found.note(&format!("cpu_us_per_refusal_{name}"), seconds * 1e6 / count(refusals));
    }
    hammers.leave();
    Ok(found)
}

/// Puts up one unit and buys it; returns how an order names it.
async fn sell_out(shop: &Shop, settings: &SoldoutSettings) -> anyhow::Result<String> {
    let promo = shop.publish(&Sale { stock: 1, ..Sale::default() }).await?;
    let seed = settings.target.seed;
    let mut buyer = Crew::gather(shop, 1, 1, seed.wrapping_add(1)).await?;
    buyer.join(promo.id, Plan::OnSchedule(vec![Duration::ZERO])).await?;
    buyer.go(1, SOLD_WITHIN).await?;
    let heard = buyer.collect().await?;
    ensure!(
        heard.iter().all(|heard| !heard.outcomes.is_empty()),
        "the one unit could not be bought: {heard:?}"
    );
    buyer.leave();
    Ok(match settings.ware {
        Ware::Promo => format!(r#""promo_id":{}"#, promo.id),
        // The promo ends without anything to give back, and its item has nothing at list price either.
        Ware::Item => {
            shop.end(promo.id).await?;
            format!(r#""item_id":{}"#, promo.item_id)
        }
    })
}

async fn highest(
    hammers: &mut Hammers,
    settings: &SoldoutSettings,
    limit: f64,
    found: &mut Found,
) -> anyhow::Result<f64> {
    let mut search = Search::new(settings.start_rate, limit);
    let mut tried = Vec::new();
    while let Some(rate) = search.next() {
        let run = hammer(hammers, settings, rate).await?;
        search.told(rate, run.is_answered(ANSWERED) && run.refused.at_ms(99.0) <= settings.refused_within_ms);
        tried.push((rate, run.rate_per_s()));
    }
    found.series.insert("refusals_per_s_over_offered_per_s".to_owned(), tried);
    found.note("search_capped", f64::from(u8::from(search.is_capped())));
    search.best().context("not even the lowest rate was answered in time")
}

async fn hammer(hammers: &mut Hammers, settings: &SoldoutSettings, rate: f64) -> anyhow::Result<Measured> {
    let over = Duration::from_secs_f64(settings.duration_s);
    let run = hammers.run(Rate::constant(rate, over), Spacing::Poisson).await?;
    tell(format_args!(
        "{rate:.0} orders/s of what is sold out: {:.0} refusals/s, p99 {:.1} ms, {:?}",
        run.rate_per_s(),
        run.refused.at_ms(99.0),
        run.reasons,
    ));
    Ok(run)
}

fn processes(settings: &SoldoutSettings) -> Vec<(String, u32)> {
    let mut all = settings.processes.clone();
    all.push(("generator".to_owned(), std::process::id()));
    all
}

fn describe(settings: &SoldoutSettings) -> Found {
    let mut found = Found::new("soldout");
    found.set("shoppers", settings.shoppers);
    found.set("gateways", settings.target.target.len());
    found.set("ware", format!("{:?}", settings.ware).to_lowercase());
    found.set("duration_s", settings.duration_s);
    found.set("repeats", settings.repeats);
    found.set("refused_within_ms", settings.refused_within_ms);
    found.set("orders_per_user_per_s", settings.orders_per_user_per_s);
    found.set("frames_per_socket_per_s", settings.frames_per_socket_per_s);
    found.set("seed", settings.target.seed);
    found
}

fn note(found: &mut Found, runs: &[Measured]) {
    let rates: Vec<_> = runs.iter().map(Measured::rate_per_s).collect();
    let late: Vec<_> = runs.iter().map(|run| run.refused.at_ms(99.0)).collect();
    found.note("rate_per_s", median(&rates).unwrap_or(0.0));
    found.note("rate_per_s_min", rates.iter().copied().fold(f64::INFINITY, f64::min));
    found.note("rate_per_s_max", rates.iter().copied().fold(0.0, f64::max));
    found.note("refused_p99_ms", median(&late).unwrap_or(0.0));
    let mut all = Latencies::new();
    for run in runs {
        all.merge(&run.refused);
        for (reason, times) in &run.reasons {
            *found.numbers.entry(format!("refusals_{reason}")).or_default() += count(*times);
        }
    }
    found.latencies.insert("refused".to_owned(), all.percentiles());
    found.faults.insert("sold_beyond_stock".to_owned(), runs.iter().map(|run| run.accepted).sum());
    found.faults.insert("unanswered".to_owned(), runs.iter().map(|run| run.unanswered).sum());
    found.faults.insert("lost_sockets".to_owned(), runs.iter().map(|run| run.lost).sum());
}
