//! Repeats of one measurement, and their latencies. Knows no server.
//!
//! A repeat is a warm-up that is not counted, and then a time that is. The median of the repeats is what is reported,
//! beside the lowest and the highest of them.

use std::time::Duration;

use clap::{Args, value_parser};

use crate::{
    found::{Found, Percentiles, median},
    latency::Latencies,
};

/// How long and how often something is measured.
#[derive(Clone, Copy, Debug, Args)]
pub struct Pace {
    /// Seconds before each repeat that are not counted.
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = value_parser!(u64).range(0..=600))]
    pub warm_up: u64,
    /// Seconds that are counted, in each repeat.
    #[arg(long, value_name = "S", default_value_t = 5, value_parser = value_parser!(u64).range(1..=600))]
    pub duration: u64,
    /// Repeats of each measurement.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    pub repeats: u32,
}

impl Pace {
    /// The time that is not counted.
    pub fn warm_up(self) -> Duration {
        Duration::from_secs(self.warm_up)
    }

    /// The time that is counted.
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.duration)
    }

    /// Notes itself among the settings.
    pub fn describe(self, found: &mut Found) {
        found.set("warm_up_s", self.warm_up);
        found.set("duration_s", self.duration);
        found.set("repeats", self.repeats);
    }
}

/// What the repeats of one measurement came to.
#[derive(Clone, Debug, Default)]
pub struct Repeats {
    per_s: Vec<f64>,
    latencies: Latencies,
}

impl Repeats {
    /// Takes over one repeat: its rate, and its latencies.
    pub fn push(&mut self, per_s: f64, latencies: &Latencies) {
        self.per_s.push(per_s);
        self.latencies.merge(latencies);
    }

    /// The middle rate.
    pub fn median(&self) -> f64 {
        median(&self.per_s).unwrap_or_default()
    }

    /// The latencies of all repeats together.
    pub fn percentiles(&self) -> Percentiles {
        self.latencies.percentiles()
    }

    /// Notes the middle rate under `name`, and the lowest and the highest beside it.
    pub fn note(&self, found: &mut Found, name: &str) {
        found.note(name, self.median());
        found.note(&format!("{name}_min"), self.per_s.iter().copied().fold(f64::INFINITY, f64::min));
        found.note(&format!("{name}_max"), self.per_s.iter().copied().fold(0.0, f64::max));
    }
}

/// A count per second; nothing per no time.
#[expect(clippy::cast_precision_loss, reason = "counts have fewer than 53 bits")]
pub fn per_second(count: u64, elapsed: Duration) -> f64 {
    if elapsed.is_zero() { 0.0 } else { count as f64 / elapsed.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_of_the_repeats_is_shown() {
        let (mut repeats, mut found) = (Repeats::default(), Found::new("test"));
        for per_s in [10.0, 30.0, 20.0] {
            repeats.push(per_s, &Latencies::default());
        }
        repeats.note(&mut found, "orders_per_s");
        let number = |name: &str| found.numbers[name].round();
        assert_eq!(
            (number("orders_per_s_min"), number("orders_per_s"), number("orders_per_s_max")),
            (10.0, 20.0, 30.0)
        );
    }

    #[test]
    fn a_rate_of_no_time_is_nothing() {
        assert!(per_second(5, Duration::ZERO).abs() < f64::EPSILON);
        assert!((per_second(5, Duration::from_millis(500)) - 10.0).abs() < 1e-9);
    }
}
