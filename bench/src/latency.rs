//! Distributions of latency. Knows what a latency is and not what was waited for.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::found::Percentiles;

/// The longest latency that is told apart from longer ones. Everything above counts as this.
const LONGEST: Duration = Duration::from_mins(10);
/// Significant digits of every recorded latency.
const DIGITS: u8 = 3;
/// Points of the curve for plots: each halves the distance to 100 %.
const CURVE_TICKS_PER_HALF: u32 = 5;

/// Latencies from the intended start to what was waited for.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// No latencies yet.
    pub fn new() -> Self {
        let longest = micros(LONGEST);
        Self(Histogram::new_with_bounds(1, longest, DIGITS).expect("the bounds are in order"))
    }

    /// Notes one.
    pub fn record(&mut self, latency: Duration) {
        self.0.saturating_record(micros(latency).max(1));
    }

    /// Adds all of another distribution's.
    pub fn merge(&mut self, other: &Self) {
        self.0 += &other.0;
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        usize::try_from(self.0.len()).unwrap_or(usize::MAX)
    }

    /// The latency that this percentage of all does not exceed, in milliseconds; 0 if there are none.
    pub fn at_ms(&self, percentile: f64) -> f64 {
        millis(self.0.value_at_percentile(percentile))
    }

    /// Everything a report shows.
    pub fn percentiles(&self) -> Percentiles {
        Percentiles {
            count: self.0.len(),
            min_ms: millis(self.0.min()),
            mean_ms: self.0.mean() / 1000.0,
            p50_ms: self.at_ms(50.0),
            p90_ms: self.at_ms(90.0),
            p99_ms: self.at_ms(99.0),
            p999_ms: self.at_ms(99.9),
            max_ms: millis(self.0.max()),
            curve: self
                .0
                .iter_quantiles(CURVE_TICKS_PER_HALF)
                .map(|step| (step.quantile_iterated_to() * 100.0, millis(step.value_iterated_to())))
                .collect(),
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(latencies: I) -> Self {
        let mut all = Self::new();
        latencies.into_iter().for_each(|latency| all.record(latency));
        all
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a load test are far below 2^52")]
fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let all: Latencies = (1..=1000).map(Duration::from_millis).collect();
        let found = all.percentiles();
        let near = |value: f64, wanted: f64| (value - wanted).abs() <= wanted * 0.001 + 0.001;
        assert_eq!(found.count, 1000);
        assert!(near(found.p50_ms, 500.0), "{found:?}");
        assert!(near(found.p99_ms, 990.0), "{found:?}");
        assert!(near(found.max_ms, 1000.0), "{found:?}");
        assert!(near(found.mean_ms, 500.5), "{found:?}");
        assert!(found.curve.is_sorted_by(|a, b| a.1 <= b.1));
    }

    #[test]
    fn nothing_is_dropped_however_slow() {
        let mut all: Latencies = [Duration::from_hours(9)].into_iter().collect();
        all.merge(&[Duration::ZERO].into_iter().collect());
        assert_eq!(all.count(), 2);
        assert!(all.percentiles().max_ms >= 600_000.0);
    }
}
