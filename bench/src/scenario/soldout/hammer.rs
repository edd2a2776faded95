//! Shoppers who order again and again what is sold out: a task and a socket each, on one schedule.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep_until, timeout},
};
use uuid::Uuid;

use super::SoldoutSettings;
use crate::{
    arrivals::{self, Rate, Spacing},
    found::count,
    latency::Latencies,
    shop::Shop,
    shopper::enter_sockets,
    socket::{self, Kind, Socket},
};

/// How long answers are waited for after the last order was due.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// From the announcement to the start: time for every task to hear of it.
const HEADS_UP: Duration = Duration::from_millis(300);
/// How long a task may take to report after all answers should have come.
const REPORTS_WITHIN: Duration = Duration::from_secs(30);
/// Reasons that say "nothing is left for you".
const TOO_LATE: [&str; 3] = ["sold_out", "no_pass", "limit_reached"];

/// All of them.
pub(super) struct Hammers {
    runs: watch::Sender<Option<Arc<Run>>>,
    reports: mpsc::Receiver<Measured>,
    count: usize,
    seed: u64,
}

/// One schedule. The n-th shopper takes every `of`-th moment, from the n-th on.
struct Run {
    start: Instant,
    until: Instant,
    moments: Vec<Duration>,
    of: usize,
}

/// What was heard, by one or by all.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// Refusals because nothing is left: latencies.
    pub refused: Latencies,
    /// All refusals, by reason.
    pub reasons: BTreeMap<String, usize>,
    pub accepted: u64,
    pub unanswered: u64,
    /// Shoppers whose socket was lost.
    pub lost: u64,
    offered: usize,
    over: Duration,
    busy: Duration,
}

impl Measured {
    /// Refusals per second, until the last one came.
    pub(super) fn rate_per_s(&self) -> f64 {
        count(self.refused.count()) / self.over.max(self.busy).as_secs_f64()
    }

    /// Whether this share of all orders was refused for the right reason.
    pub(super) fn is_answered(&self, share: f64) -> bool {
        self.lost == 0 && count(self.refused.count()) >= count(self.offered) * share
    }

    fn add(&mut self, other: &Self) {
        self.refused.merge(&other.refused);
        for (reason, times) in &other.reasons {
            *self.reasons.entry(reason.clone()).or_default() += times;
        }
        self.accepted += other.accepted;
        self.unanswered += other.unanswered;
        self.lost += other.lost;
        self.busy = self.busy.max(other.busy);
    }
}

impl Hammers {
    /// Signs up the shoppers and opens their sockets. `ware` is how an order names what it is for.
    pub(super) async fn gather(shop: &Shop, settings: &SoldoutSettings, ware: &str) -> anyhow::Result<Self> {
        let count = settings.shoppers as usize;
        let accounts = shop.sign_up(count).await?;
        let sockets = enter_sockets(shop.target(), &accounts, settings.connects_per_s).await?;
        let (runs, announced) = watch::channel(None);
        let (report, reports) = mpsc::channel(1024);
        let seed = settings.target.seed;
        for (number, socket) in sockets {
            let chance = StdRng::seed_from_u64(seed.wrapping_add(number as u64) ^ (1 << 40));
            let ware = ware.to_owned();
            let hammer =
                Hammer { number, socket, chance, ware, runs: announced.clone(), report: report.clone() };
            tokio::spawn(hammer.attend());
        }
        Ok(Self { runs, reports, count, seed })
    }

    /// Keeps up a rate, and adds up what all heard.
    pub(super) async fn run(&mut self, rate: Rate, spacing: Spacing) -> anyhow::Result<Measured> {
        self.seed = self.seed.wrapping_add(1);
        let moments = arrivals::schedule(rate, spacing, self.seed, usize::MAX);
        let start = Instant::now() + HEADS_UP;
        let until = start + rate.over + ANSWERS_WITHIN;
        let offered = moments.len();
        self.runs.send_replace(Some(Arc::new(Run { start, until, moments, of: self.count })));
        let mut all = Measured { offered, over: rate.over, ..Measured::default() };
        let patience = until.saturating_duration_since(Instant::now()) + REPORTS_WITHIN;
        let adding = async {
            for _ in 0..self.count {
                all.add(&self.reports.recv().await.context("all shoppers are gone")?);
            }
            anyhow::Ok(())
        };
        timeout(patience, adding).await.context("shoppers do not report")??;
        Ok(all)
    }

    /// Everybody goes home.
    pub(super) fn leave(self) {
        drop(self.runs);
    }
}

struct Hammer {
    number: usize,
    socket: Socket,
    chance: StdRng,
    ware: String,
    runs: watch::Receiver<Option<Arc<Run>>>,
    report: mpsc::Sender<Measured>,
}

impl Hammer {
    async fn attend(mut self) {
        let mut alive = true;
        loop {
            let announced = tokio::select! {
                changed = self.runs.changed() => changed.is_ok(),
                // Pings are answered while nothing is to be done.
                heard = self.socket.hear(), if alive => { alive = heard.is_ok(); continue }
            };
            let run = self.runs.borrow_and_update().clone();
            let Some(run) = run.filter(|_| announced) else { break };
            let mut measured = Measured::default();
            if alive {
                alive = self.keep_up(&run, &mut measured).await.is_ok();
            }
            measured.lost = u64::from(!alive);
            // The commander is gone only when the run has been given up.
            let _ = self.report.send(measured).await;
        }
        self.socket.leave().await;
    }

    async fn keep_up(&mut self, run: &Run, measured: &mut Measured) -> anyhow::Result<()> {
        let mut due = run.moments.iter().skip(self.number).step_by(run.of).map(|moment| run.start + *moment);
        let mut next = due.next();
        let mut open: VecDeque<(Uuid, Instant)> = VecDeque::new();
        let kept = loop {
            let at = match next {
                Some(at) => at,
                None if open.is_empty() => break Ok(()),
                None => run.until,
            };
            tokio::select! {
                biased;
                heard = self.socket.hear() => match heard {
                    Ok(frame) => hear(&frame, &mut open, measured, run.start),
                    Err(error) => break Err(error),
                },
                () = sleep_until(at.into()) => {
                    if next.is_none() {
                        break Ok(());
                    }
                    next = due.next();
                    if let Err(error) = self.order(at, &mut open).await {
                        break Err(error);
                    }
                }
            }
        };
        measured.unanswered += open.len() as u64;
        kept
    }

    async fn order(&mut self, at: Instant, open: &mut VecDeque<(Uuid, Instant)>) -> anyhow::Result<()> {
        let mut bytes = [0; 16];
        self.chance.fill_bytes(&mut bytes);
        let request_id = uuid::Builder::from_random_bytes(bytes).into_uuid();
        open.push_back((request_id, at));
        let ware = &self.ware;
        self.socket
            .say(format!(r#"{{"type":"order","request_id":"{request_id}",{ware},"quantity":1}}"#))
            .await
    }
}

/// Takes in an answer. A socket's orders are answered one after the other, but by its id each finds its own.
fn hear(frame: &str, open: &mut VecDeque<(Uuid, Instant)>, measured: &mut Measured, start: Instant) {
    let kind = socket::kind(frame);
    if !matches!(kind, Kind::Accepted | Kind::Refused) {
        return;
    }
    let Some(request_id) = socket::field(frame, "request_id").and_then(|id| id.parse::<Uuid>().ok()) else {
        return;
    };
    let Some(position) = open.iter().position(|(id, _)| *id == request_id) else { return };
    let Some((_, intended)) = open.remove(position) else { return };
    if kind == Kind::Accepted {
        measured.accepted += 1;
        return;
    }
    let now = Instant::now();
    let reason = socket::field(frame, "reason").unwrap_or("none");
    if TOO_LATE.contains(&reason) {
        measured.refused.record(now.saturating_duration_since(intended));
        measured.busy = now.saturating_duration_since(start);
    }
    match measured.reasons.get_mut(reason) {
        Some(times) => *times += 1,
        None => drop(measured.reasons.insert(reason.to_owned(), 1)),
    }
}
