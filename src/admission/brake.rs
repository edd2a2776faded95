//! The brake that the order log puts on admission: a log that is slow or away slows the door, not the order.
//!
//! Knows the log's health and counts its backlog, in one place of a process and off every shopper's path. Must not know rooms.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::port::LogState;
use crate::order_log::port::OrderLog;

/// How often the backlog is counted: it costs a few round trips.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// What admission heeds of the order log.
pub struct Brake {
    log: Arc<dyn OrderLog>,
    max_lag: u64,
    /// As last counted; 0 before the first time.
    lag: AtomicU64,
}

impl Brake {
    /// `max_lag`: unsettled records of the whole log at which nobody is called any more.
    pub fn new(log: Arc<dyn OrderLog>, max_lag: u64) -> Self {
        Self { log, max_lag, lag: AtomicU64::new(0) }
    }

    /// What the log can do with more orders. Answers at once: the backlog is the one last counted.
    pub fn state(&self) -> LogState {
        if !self.log.is_well() {
            LogState::Down
        } else if self.lag.load(Ordering::Relaxed) >= self.max_lag {
            LogState::Behind
        } else {
            LogState::Ready
        }
    }

    /// Keeps the count of the backlog up to date, until `stop`. One that cannot be had leaves the last one standing.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        let mut interval = tokio::time::interval(COUNT_EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = self.state();
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            match stop.run_until_cancelled(self.log.lag()).await {
                None => return,
                Some(Ok(lag)) => self.note(lag),
                Some(Err(error)) => {
                    tracing::debug!(%error, "the backlog of the order log could not be counted");
                }
            }
            let state = self.state();
            if state != told {
                let lag = self.lag.load(Ordering::Relaxed);
                tracing::info!(
                    from = told.as_str(),
                    to = state.as_str(),
                    lag,
                    "the order log's hold on admission changed"
                );
                told = state;
            }
        }
    }

    fn note(&self, lag: u64) {
        self.lag.store(lag, Ordering::Relaxed);
        metrics::gauge!("panicbuy_log_lag_records").set(f64::from(u32::try_from(lag).unwrap_or(u32::MAX)));
    }
}
