//! Whether the log takes orders, as deliveries, errors and probes tell.

use std::{
    fmt::Display,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

/// How often brokers are asked while all is well.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often they are asked while it is not.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// What the last delivery, the last error and the last probe had to say.
#[derive(Debug)]
pub(super) struct Health {
    well: AtomicBool,
    deliveries: AtomicU64,
    failures: AtomicU64,
    trouble: Notify,
}

/// A moment: what had happened until then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    deliveries: u64,
    failures: u64,
}

impl Health {
    pub fn new() -> Self {
        Self {
            well: AtomicBool::new(true),
            deliveries: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            trouble: Notify::new(),
        }
    }

    pub fn is_well(&self) -> bool {
        self.well.load(Ordering::Relaxed)
    }

    /// A record was delivered.
    pub fn delivered(&self) {
        self.deliveries.fetch_add(1, Ordering::Relaxed);
        self.set_well();
    }

    /// A record was not delivered, or no broker answers.
    pub fn failed(&self, reason: &dyn Display) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.set_unwell(reason);
    }

    /// Now.
    pub fn mark(&self) -> Mark {
        Mark {
            deliveries: self.deliveries.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    /// A probe that began at `begun` went well. It says nothing about failures since.
    pub fn probed(&self, begun: Mark) {
        if self.mark().failures == begun.failures {
            self.set_well();
        }
    }

    /// A probe that began at `begun` did not. If records were delivered meanwhile, it was only slow.
    pub fn probe_failed(&self, begun: Mark, reason: &dyn Display) {
        if self.mark().deliveries == begun.deliveries {
            self.set_unwell(reason);
        }
    }

    /// Waits until it is time for the next probe.
    pub async fn next_probe(&self) {
        if self.is_well() {
            // Trouble ends the wait early; then the shorter pace begins.
            if tokio::time::timeout(LOOK_EVERY, self.trouble.notified()).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(PROBE_EVERY).await;
    }

    fn set_well(&self) {
        if !self.well.swap(true, Ordering::Relaxed) {
            tracing::info!("Kafka takes orders again");
        }
    }

    fn set_unwell(&self, reason: &dyn Display) {
        if self.well.swap(false, Ordering::Relaxed) {
            tracing::error!(%reason, "Kafka takes no orders for now");
            self.trouble.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_does_not_outvote_what_happened_during_it() {
        let health = Health::new();
        let begun = health.mark();
        health.failed(&"gone");
        health.probed(begun);
        assert!(!health.is_well());

        let begun = health.mark();
        health.delivered();
        health.probe_failed(begun, &"slow");
        assert!(health.is_well());
    }

    #[test]
    fn a_probe_alone_decides_when_nobody_orders() {
        let health = Health::new();
        health.probe_failed(health.mark(), &"gone");
        assert!(!health.is_well());
        health.probed(health.mark());
        assert!(health.is_well());
    }
}
