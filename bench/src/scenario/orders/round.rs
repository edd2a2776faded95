//! One round of orders: a fresh promo, passes for all who take part, then the load. And what it came to.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{OrdersSettings, auditor, tell};
use crate::{
    arrivals::{self, Rate},
    auditor::Books,
    crew::{Crew, Plan},
    found::{Found, count},
    heard::Heard,
    latency::Latencies,
    process::Meter,
    shop::{Sale, Shop},
};

/// How long answers are waited for after the last order was due.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// The spans of time of which rates over time are told.
const SPAN: Duration = Duration::from_millis(100);

/// The shoppers, and what they heard in all rounds so far.
pub(super) struct Hall<'a> {
    settings: &'a OrdersSettings,
    shop: Shop,
    crew: Crew,
    rounds: Vec<(Books, Vec<Heard>)>,
}

/// What a round came to. Latencies are those of orders that were due after the warm-up.
#[derive(Debug)]
pub(super) struct Measured {
    /// Orders that were due in each second of the measured time.
    pub offered_per_s: f64,
    /// Outcomes of measured orders per second, until the last of them came.
    pub rate_per_s: f64,
    pub accepted: Latencies,
    pub outcome: Latencies,
    /// How late the generator itself was. Part of the other two.
    pub sent_late: Latencies,
    /// Orders that have no outcome.
    pub without_outcome: usize,
    pub refused: BTreeMap<String, usize>,
    /// All orders of the round, warm-up included.
    pub orders: f64,
    /// Orders due and outcomes per second, over seconds since the start.
    pub due_over_s: Vec<(f64, f64)>,
    pub outcomes_over_s: Vec<(f64, f64)>,
    /// Processor seconds by process, from the first order to the last outcome.
    pub cpu_s: BTreeMap<String, f64>,
    /// Cores that were busy with processes that are not measured.
    pub other_cores: f64,
}

/// What a rate must keep to hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub accepted_ms: f64,
    pub outcome_ms: f64,
}

impl Bounds {
    pub(super) fn held(self, round: &Measured) -> bool {
        round.without_outcome == 0
            && round.accepted.at_ms(99.0) <= self.accepted_ms
            && round.outcome.at_ms(99.0) <= self.outcome_ms
    }
}

impl<'a> Hall<'a> {
    pub(super) async fn open(settings: &'a OrdersSettings) -> anyhow::Result<Self> {
        let shop = Shop::admin(&settings.target).await?;
        tell(format_args!("{} shoppers come in", settings.shoppers));
        let count = settings.shoppers as usize;
        let crew = Crew::gather(&shop, count, settings.connects_per_s, settings.target.seed).await?;
        Ok(Self { settings, shop, crew, rounds: Vec::new() })
    }

    /// Runs a round.
    pub(super) async fn round(&mut self, rate: Rate) -> anyhow::Result<Measured> {
        let seed = self.settings.target.seed.wrapping_add(self.rounds.len() as u64);
        let moments = arrivals::schedule(rate, self.settings.spacing, seed, self.crew.accounts.len());
        let orders = moments.len();
        let stock = u32::try_from(orders)?;
        let promo = self.shop.publish(&Sale { stock, ..Sale::default() }).await?;
        self.crew.join(promo.id, Plan::OnSchedule(moments)).await?;
        let meter = Meter::start(&self.processes());
        let start = self.crew.go(orders, rate.over + ANSWERS_WITHIN).await?;
        let (cpu_s, other_cores) = (meter.read(), meter.other_cores().unwrap_or(f64::NAN));
        let heard = self.crew.collect().await?;
        let warm_up = start + Duration::from_secs_f64(self.settings.warm_up_s);
        let mut measured = Measured::of(&heard, warm_up, start + rate.over, cpu_s);
        measured.other_cores = other_cores;
        measured.due_over_s = per_second(start, heard.iter().filter_map(|heard| Some(heard.asked?.intended)));
        measured.outcomes_over_s = per_second(start, heard.iter().filter_map(|heard| heard.outcome_at));
        tell(format_args!(
            "{:.0} orders/s offered: {:.0}/s done, accepted p99 {:.1} ms, outcome p99 {:.1} ms, {} without outcome {:?}, {:.1} cores busy with others",
            measured.offered_per_s,
            measured.rate_per_s,
            measured.accepted.at_ms(99.0),
            measured.outcome.at_ms(99.0),
            measured.without_outcome,
            measured.refused,
            measured.other_cores,
        ));
        let books = Books::open(&self.shop, promo.id).await?;
        // An open promo costs a little in the next rounds, and changes no result.
        if let Err(error) = self.shop.end(promo.id).await {
            tell(format_args!("promo {} could not be ended: {error:#}", promo.id));
        }
        self.rounds.push((books, heard));
        Ok(measured)
    }

    /// Audits all rounds.
    pub(super) async fn close(self, found: &mut Found) -> anyhow::Result<()> {
        tell("reading the books of all rounds");
        let orders: usize = self.rounds.iter().map(|(_, heard)| heard.len()).sum();
        found.note("orders_audited", count(orders));
        auditor::audit(&self.shop, self.rounds, &self.crew.accounts, found).await?;
        self.crew.leave();
        Ok(())
    }

    /// The processes to measure, this one among them.
    fn processes(&self) -> Vec<(String, u32)> {
        let mut all = self.settings.processes.clone();
        all.push(("generator".to_owned(), std::process::id()));
        all
    }
}

impl Measured {
    fn of(heard: &[Heard], from: Instant, until: Instant, cpu_s: BTreeMap<String, f64>) -> Self {
        let measured: Vec<_> = heard
            .iter()
            .filter_map(|heard| Some((heard, heard.asked?)))
            .filter(|(_, asked)| asked.intended >= from)
            .collect();
        let latency = |at: fn(&Heard) -> Option<Instant>| -> Latencies {
            let all = measured.iter().filter_map(|(heard, asked)| Some((at(heard)?, asked.intended)));
            all.map(|(at, intended)| at.saturating_duration_since(intended)).collect()
        };
        let outcome = latency(|heard| heard.outcome_at);
        let last = measured.iter().filter_map(|(heard, _)| heard.outcome_at).max();
        let busy = last.map_or(until, |last| last.max(until)).saturating_duration_since(from);
        let mut refused = BTreeMap::new();
        for reason in heard.iter().flat_map(|heard| &heard.refused) {
            *refused.entry(reason.clone()).or_default() += 1;
        }
        Self {
            offered_per_s: count(measured.len()) / until.saturating_duration_since(from).as_secs_f64(),
            rate_per_s: count(outcome.count()) / busy.as_secs_f64(),
            accepted: latency(|heard| heard.accepted_at),
            sent_late: measured
                .iter()
                .map(|(_, asked)| asked.sent.saturating_duration_since(asked.intended))
                .collect(),
            without_outcome: heard.iter().filter(|heard| heard.outcomes.is_empty()).count(),
            outcome,
            refused,
            orders: count(heard.len()),
            due_over_s: Vec::new(),
            outcomes_over_s: Vec::new(),
            cpu_s,
            other_cores: f64::NAN,
        }
    }
}

/// How many moments fall into each short span of time, as a rate.
fn per_second(start: Instant, moments: impl Iterator<Item = Instant>) -> Vec<(f64, f64)> {
    let mut spans = Vec::new();
    for moment in moments {
        let span = (moment.saturating_duration_since(start).as_millis() / SPAN.as_millis()) as usize;
        if spans.len() <= span {
            spans.resize(span + 1, 0_u32);
        }
        spans[span] += 1;
    }
    let width = SPAN.as_secs_f64();
    let middle = |span: u32| (f64::from(span) + 0.5) * width;
    (0..).zip(spans).map(|(span, count)| (middle(span), f64::from(count) / width)).collect()
}
