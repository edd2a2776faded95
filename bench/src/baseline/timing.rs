//! Repeats of one measurement, and their latencies. Knows no server.
//!
//! A repeat is a warm-up that is not counted, and then a time that is. The median of the repeats is what is reported,
//! beside the lowest and the highest of them.

use std::time::Duration;

use clap::{Args, value_parser};
use hdrhistogram::Histogram;

use crate::found::{Found, Percentiles, median};

/// The longest latency that is told apart from longer ones, in microseconds.
const MAX_US: u64 = 600_000_000;
/// Significant digits of a latency.
const DIGITS: u8 = 3;
/// The percentiles of a curve: ever closer to 100.
const CURVE: [f64; 16] =
    [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.75, 99.9, 99.95, 99.99, 99.999, 100.0];

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

/// Latencies, in microseconds.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, MAX_US, DIGITS).expect("the bounds are constants"))
    }
}

impl Latencies {
    /// Notes one latency.
    pub fn note(&mut self, latency: Duration) {
        self.note_us(u64::try_from(latency.as_micros()).unwrap_or(MAX_US));
    }

    /// Notes one latency, in microseconds.
    pub fn note_us(&mut self, us: u64) {
        self.0.saturating_record(us.max(1));
    }

    /// Takes over what another has noted.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// How many were noted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The distribution, in milliseconds.
    pub fn percentiles(&self) -> Percentiles {
        let at = |percentile| millis(self.0.value_at_percentile(percentile));
        Percentiles {
            count: self.0.len(),
            min_ms: millis(self.0.min()),
            mean_ms: self.0.mean() / 1000.0,
            p50_ms: at(50.0),
            p90_ms: at(90.0),
            p99_ms: at(99.0),
            p999_ms: at(99.9),
            max_ms: millis(self.0.max()),
            curve: CURVE.iter().map(|&percentile| (percentile, at(percentile))).collect(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a latency has fewer than 53 bits of microseconds")]
fn millis(us: u64) -> f64 {
    us as f64 / 1000.0
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
        self.latencies.add(latencies);
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
    fn percentiles_are_milliseconds_of_what_was_noted() {
        let mut latencies = Latencies::default();
        for ms in 1..=100 {
            latencies.note(Duration::from_millis(ms));
        }
        let percentiles = latencies.percentiles();
        assert_eq!(percentiles.count, 100);
        assert!((percentiles.p50_ms - 50.0).abs() < 0.1, "{}", percentiles.p50_ms);
        assert!((percentiles.p99_ms - 99.0).abs() < 0.1, "{}", percentiles.p99_ms);
        assert!((percentiles.max_ms - 100.0).abs() < 0.1, "{}", percentiles.max_ms);
        assert!(percentiles.curve.is_sorted_by(|(_, one), (_, next)| one <= next));
    }

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
