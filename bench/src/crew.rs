//! All shoppers of a scenario, each a task with a socket, moved through rounds together: join, order, be heard.
//!
//! A round has one promo and one order of each shopper in it. Between rounds the sockets stay open.

mod member;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep_until, timeout},
};

use crate::{
    heard::Heard,
    shop::{Account, Shop},
    shopper::{Shopper, enter_sockets},
};

use member::Member;

/// How long all shoppers of a round may take to join it and, if they must, to be admitted.
const READY_WITHIN: Duration = Duration::from_mins(3);
/// How long a shopper may take to hand over what was heard.
const COLLECTED_WITHIN: Duration = Duration::from_mins(1);
/// From the start's announcement to the start: time for every task to hear of it.
const HEADS_UP: Duration = Duration::from_millis(300);

/// What the shoppers of a round do.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Get a pass, then order at these moments after the start, one shopper each.
    OnSchedule(Vec<Duration>),
    /// Join, and order as soon as a pass comes. So many shoppers.
    WhenAdmitted(usize),
}

/// One promo, and who does what.
#[derive(Debug)]
struct Round {
    promo: i64,
    plan: Plan,
}

#[derive(Clone, Debug)]
enum Phase {
    Idle,
    Join(Arc<Round>),
    Go { start: Instant, until: Instant },
    Collect,
    Leave,
}

/// What a shopper tells the commander, by number.
enum Report {
    /// In the lobby, or the holder of a pass: whatever the plan wants first.
    Ready(usize),
    /// The order has its outcome, was refused, or will not be sent any more.
    Done(usize),
    Heard(Box<Heard>),
}

/// The shoppers, as seen by who commands them.
#[derive(Debug)]
pub struct Crew {
    pub accounts: Vec<Account>,
    phase: watch::Sender<Phase>,
    reports: mpsc::Receiver<Report>,
    in_round: usize,
}

impl Plan {
    fn shoppers(&self) -> usize {
        match self {
            Self::OnSchedule(moments) => moments.len(),
            Self::WhenAdmitted(count) => *count,
        }
    }
}

impl Crew {
    /// Signs up so many shoppers and opens their sockets, `per_s` of them in each second.
    pub async fn gather(shop: &Shop, count: usize, per_s: u32, seed: u64) -> anyhow::Result<Self> {
        let accounts = shop.sign_up(count).await?;
        let sockets = enter_sockets(shop.target(), &accounts, per_s).await?;
        let (phase, phases) = watch::channel(Phase::Idle);
        let (report, reports) = mpsc::channel(1024);
        for (number, socket) in sockets {
            let shopper = Shopper::new(accounts[number].user_id, socket, seed ^ ((number as u64) << 20));
            tokio::spawn(Member::new(number, shopper, phases.clone(), report.clone()).attend());
        }
        Ok(Self { accounts, phase, reports, in_round: 0 })
    }

    /// Everybody of this plan joins; returns when all have what the plan wants before it begins.
    pub async fn join(&mut self, promo: i64, plan: Plan) -> anyhow::Result<()> {
        self.in_round = plan.shoppers();
        ensure!(self.in_round <= self.accounts.len(), "the plan has more shoppers than there are");
        self.phase.send_replace(Phase::Join(Arc::new(Round { promo, plan })));
        let mut ready = HashSet::new();
        let all = async {
            while ready.len() < self.in_round {
                match self.reports.recv().await.context("all shoppers are gone")? {
                    Report::Ready(number) => {
                        ready.insert(number);
                    }
                    Report::Done(number) => bail!("shopper {number} lost the socket while joining"),
                    Report::Heard(_) => {}
                }
            }
            Ok(())
        };
        match timeout(READY_WITHIN, all).await {
            Ok(joined) => joined,
            Err(_) => bail!("only {} of {} shoppers were ready in time", ready.len(), self.in_round),
        }
    }

    /// The load begins; returns the start, and waits until so many have their answer or the time is up.
    pub async fn go(&mut self, wanted: usize, within: Duration) -> anyhow::Result<Instant> {
        let start = Instant::now() + HEADS_UP;
        let until = start + within;
        self.phase.send_replace(Phase::Go { start, until });
        let mut done = HashSet::new();
        let answered = async {
            while done.len() < wanted.min(self.in_round) {
                if let Report::Done(number) = self.reports.recv().await.context("all shoppers are gone")? {
                    done.insert(number);
                }
            }
            anyhow::Ok(())
        };
        tokio::select! {
            answered = answered => answered?,
            // What is missing by then is for the auditor to judge.
            () = sleep_until(until.into()) => {}
        }
        Ok(start)
    }

    /// Ends the round; returns what everybody in it heard.
    pub async fn collect(&mut self) -> anyhow::Result<Vec<Heard>> {
        self.phase.send_replace(Phase::Collect);
        let mut all = Vec::with_capacity(self.in_round);
        let collecting = async {
            while all.len() < self.in_round {
                if let Report::Heard(heard) = self.reports.recv().await.context("all shoppers are gone")? {
                    all.push(*heard);
                }
            }
            anyhow::Ok(())
        };
        timeout(COLLECTED_WITHIN, collecting).await.context("shoppers do not tell what they heard")??;
        Ok(all)
    }

    /// Everybody goes home.
    pub fn leave(self) {
        self.phase.send_replace(Phase::Leave);
    }
}
