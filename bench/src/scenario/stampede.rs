//! A whole sale: shoppers gather in the lobby, it opens, everybody orders as soon as a pass comes. Then the auditor.

use std::time::{Duration, Instant};

use clap::Args;

use crate::{
    auditor::{self, Books},
    cli::TargetArgs,
    crew::{Crew, Plan},
    found::{Found, count},
    heard::Heard,
    latency::Latencies,
    progress::tell,
    shop::{Sale, Shop},
};

/// Settings of `stampede`.
#[derive(Clone, Debug, Args)]
pub struct StampedeSettings {
    #[command(flatten)]
    pub target: TargetArgs,
    /// Shoppers, each with a socket.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub shoppers: u32,
    /// Units for sale.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub stock: u32,
    /// Passes per second.
    #[arg(long, value_name = "N", default_value_t = 500)]
    pub rate: u32,
    /// Passes at once.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub max_active: u32,
    /// Time for all to join the lobby, in seconds.
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    pub lobby_s: f64,
    /// The longest sale, in seconds. Units that are left then, though somebody waits, are stranded.
    #[arg(long, value_name = "S", default_value_t = 120.0)]
    pub duration_s: f64,
    /// Sockets opened in each second.
    #[arg(long, value_name = "N", default_value_t = 900)]
    pub connects_per_s: u32,
}

/// Runs the sale and audits it.
pub async fn run(settings: StampedeSettings) -> anyhow::Result<Found> {
    let shop = Shop::admin(&settings.target).await?;
    tell(format_args!("{} shoppers come in", settings.shoppers));
    let mut crew =
        Crew::gather(&shop, settings.shoppers as usize, settings.connects_per_s, settings.target.seed)
            .await?;
    let lobby = Duration::from_secs_f64(settings.lobby_s);
    let sale = Sale {
        stock: settings.stock,
        opens_in: lobby,
        rate_per_s: settings.rate,
        max_active: settings.max_active,
        ..Sale::default()
    };
    let promo = shop.publish(&sale).await?;
    let opens_at = Instant::now() + lobby;
    crew.join(promo.id, Plan::WhenAdmitted(settings.shoppers as usize)).await?;
    tell("all have a place; waiting for the opening");
    let buyers = settings.stock.min(settings.shoppers) as usize;
    let left = opens_at.saturating_duration_since(Instant::now());
    crew.go(buyers, left + Duration::from_secs_f64(settings.duration_s)).await?;
    let heard = crew.collect().await?;
    tell("the sale is over; reading the books");
    let mut found = describe(&settings, &heard, opens_at);
    let books = Books::open(&shop, promo.id).await?;
    auditor::audit(&shop, vec![(books, heard)], &crew.accounts, &mut found).await?;
    crew.leave();
    Ok(found)
}

fn describe(settings: &StampedeSettings, heard: &[Heard], opens_at: Instant) -> Found {
    let mut found = Found::new("stampede");
    found.set("shoppers", settings.shoppers);
    found.set("stock", settings.stock);
    found.set("rate", settings.rate);
    found.set("max_active", settings.max_active);
    found.set("seed", settings.target.seed);
    let mut bought: Vec<_> = heard.iter().filter_map(|heard| heard.outcome_at).collect();
    bought.sort_unstable();
    let since_opening = |at: &Instant| at.saturating_duration_since(opens_at).as_secs_f64();
    let sale_s = bought.last().map_or(0.0, since_opening);
    found.note("orders", count(bought.len()));
    found.note("sale_s", sale_s);
    found.note("rate_per_s", if sale_s > 0.0 { count(bought.len()) / sale_s } else { 0.0 });
    found.note("in_lobby", count(heard.iter().filter(|heard| heard.in_lobby).count()));
    let sold = bought.iter().zip(1_u32..).map(|(at, number)| (since_opening(at), f64::from(number)));
    found.series.insert("orders_over_s".to_owned(), sold.collect());
    let latency = |at: fn(&Heard) -> Option<Instant>| -> Latencies {
        heard
            .iter()
            .filter_map(|heard| Some(at(heard)?.saturating_duration_since(heard.asked?.intended)))
            .collect()
    };
    found.latencies.insert("accepted".to_owned(), latency(|heard| heard.accepted_at).percentiles());
    found.latencies.insert("outcome".to_owned(), latency(|heard| heard.outcome_at).percentiles());
    found
}
