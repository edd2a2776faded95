//! The task of one shopper: does what the phase says, and listens all the while.

use std::time::Instant;

use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};

use super::{Phase, Plan, Report, Round};
use crate::{heard::Heard, shopper::Shopper};

pub(super) struct Member {
    number: usize,
    shopper: Shopper,
    phases: watch::Receiver<Phase>,
    report: mpsc::Sender<Report>,
    in_round: bool,
}

impl Member {
    pub(super) fn new(
        number: usize,
        shopper: Shopper,
        phases: watch::Receiver<Phase>,
        report: mpsc::Sender<Report>,
    ) -> Self {
        Self { number, shopper, phases, report, in_round: false }
    }

    pub(super) async fn attend(mut self) {
        match self.rounds().await {
            Ok(()) => self.shopper.leave().await,
            Err(error) => self.stand_by(format!("{error:#}")).await,
        }
    }

    /// Takes part in rounds until it is time to leave. `Err`: the socket is lost.
    async fn rounds(&mut self) -> anyhow::Result<()> {
        loop {
            match self.next_phase().await? {
                Phase::Join(round) if self.number < round.plan.shoppers() => {
                    self.in_round = true;
                    self.take_part(&round).await?;
                    self.hand_over().await;
                }
                Phase::Leave => return Ok(()),
                _ => {}
            }
        }
    }

    async fn take_part(&mut self, round: &Round) -> anyhow::Result<()> {
        self.shopper.join(round.promo).await?;
        let order = self.shopper.write_order();
        match &round.plan {
            Plan::OnSchedule(moments) => {
                self.shopper.listen_until(|heard| heard.admitted_at.is_some()).await?;
                self.shopper.unwatch().await?;
                self.tell(Report::Ready(self.number)).await;
                let Phase::Go { start, until } = self.next_phase().await? else { return Ok(()) };
                let at = start + moments[self.number];
                self.shopper.listen_while(sleep_until(at.into())).await?;
                self.shopper.send_order(order, at).await?;
                self.hear_answer(until).await?;
            }
            Plan::WhenAdmitted(_) => {
                self.shopper.listen_until(Heard::has_place).await?;
                self.tell(Report::Ready(self.number)).await;
                let Phase::Go { until, .. } = self.next_phase().await? else { return Ok(()) };
                if self.hear_in_time(until, |heard| heard.admitted_at.is_some()).await? {
                    let at = self.shopper.heard.admitted_at.unwrap_or_else(Instant::now);
                    self.shopper.send_order(order, at).await?;
                    self.hear_answer(until).await?;
                }
            }
        }
        // A second answer would come now, if ever.
        let ended = matches!(*self.phases.borrow(), Phase::Collect | Phase::Leave);
        if ended { Ok(()) } else { self.next_phase().await.map(drop) }
    }

    async fn hear_answer(&mut self, until: Instant) -> anyhow::Result<()> {
        self.hear_in_time(until, Heard::is_answered).await?;
        self.tell(Report::Done(self.number)).await;
        Ok(())
    }

    /// Listens until so much was heard (`true`), the time is up or the round ends.
    async fn hear_in_time(&mut self, until: Instant, enough: fn(&Heard) -> bool) -> anyhow::Result<bool> {
        tokio::select! {
            biased;
            heard = self.shopper.listen_until(enough) => heard.map(|()| true),
            _ = self.phases.changed() => Ok(false),
            () = sleep_until(until.into()) => Ok(false),
        }
    }

    /// The next phase; frames are taken in meanwhile.
    async fn next_phase(&mut self) -> anyhow::Result<Phase> {
        let phases = &mut self.phases;
        let next = async {
            match phases.changed().await {
                Ok(()) => phases.borrow_and_update().clone(),
                Err(_) => Phase::Leave,
            }
        };
        self.shopper.listen_while(next).await
    }

    /// Without a socket there is nothing to listen to, but the commander still wants an answer from everybody.
    async fn stand_by(&mut self, why: String) {
        self.shopper.heard.lost = Some(why);
        self.phases.mark_changed();
        while self.phases.changed().await.is_ok() {
            let phase = self.phases.borrow_and_update().clone();
            match phase {
                Phase::Join(round) if self.number < round.plan.shoppers() => {
                    self.in_round = true;
                    self.tell(Report::Done(self.number)).await;
                }
                Phase::Go { .. } if self.in_round => self.tell(Report::Done(self.number)).await,
                Phase::Collect if self.in_round => self.hand_over().await,
                Phase::Leave => return,
                _ => {}
            }
        }
    }

    async fn hand_over(&mut self) {
        self.in_round = false;
        let heard = Box::new(self.shopper.heard.clone());
        self.tell(Report::Heard(heard)).await;
    }

    /// The commander is gone only when the run has been given up.
    async fn tell(&self, report: Report) {
        let _ = self.report.send(report).await;
    }
}
