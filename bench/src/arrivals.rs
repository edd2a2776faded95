//! When shoppers act: an open-loop schedule, drawn before the load begins. Pure.
//!
//! The schedule does not know how the server fares, so a slow answer never thins the load out, and a latency counts from the
//! time on the schedule.

use std::time::Duration;

use clap::ValueEnum;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// How arrivals are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Spacing {
    /// Independent shoppers: a Poisson process, with its bursts.
    Poisson,
    /// One after the other at even intervals.
    Even,
}

/// A rate over time, in arrivals per second: from `from_per_s` to `to_per_s` in a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub from_per_s: f64,
    pub to_per_s: f64,
    pub over: Duration,
}

impl Rate {
    /// The same rate all the time.
    pub fn constant(per_s: f64, over: Duration) -> Self {
        Self { from_per_s: per_s, to_per_s: per_s, over }
    }

    /// Arrivals expected in all.
    pub fn expected(&self) -> f64 {
        f64::midpoint(self.from_per_s, self.to_per_s) * self.over.as_secs_f64()
    }

    /// When so many arrivals are expected to have come, in seconds: the root of `from·t + (to − from)·t² / 2·over = arrivals`,
    /// in the form that does not cancel when the rate is constant.
    fn when(&self, arrivals: f64) -> f64 {
        let half_slope = (self.to_per_s - self.from_per_s) / (2.0 * self.over.as_secs_f64());
        let root = (self.from_per_s.powi(2) + 4.0 * half_slope * arrivals).max(0.0).sqrt();
        2.0 * arrivals / (self.from_per_s + root)
    }
}

/// The moments of all arrivals, in order, counted from the start of the load. At most `limit` of them.
pub fn schedule(rate: Rate, spacing: Spacing, seed: u64, limit: usize) -> Vec<Duration> {
    let mut chance = StdRng::seed_from_u64(seed);
    let expected = rate.expected();
    let mut arrived = 0.0;
    let mut moments = Vec::new();
    while moments.len() < limit {
        arrived += match spacing {
            // The gap of a unit-rate Poisson process. 1 − u is never 0.
            Spacing::Poisson => -(1.0 - chance.random::<f64>()).ln(),
            Spacing::Even => 1.0,
        };
        if arrived > expected {
            break;
        }
        moments.push(Duration::from_secs_f64(rate.when(arrived)));
    }
    moments
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Duration = Duration::from_secs(10);
    const ALL: usize = usize::MAX;

    fn within(moments: &[Duration], from: u64, to: u64) -> usize {
        let (from, to) = (Duration::from_secs(from), Duration::from_secs(to));
        moments.iter().filter(|at| **at > from && **at <= to).count()
    }

    #[test]
    fn a_constant_rate_is_kept_in_every_second() {
        let even = schedule(Rate::constant(1000.0, TEN), Spacing::Even, 1, ALL);
        assert_eq!(even.len(), 10_000);
        for second in 0..10 {
            assert!(within(&even, second, second + 1).abs_diff(1000) <= 1);
        }
        let poisson = schedule(Rate::constant(1000.0, TEN), Spacing::Poisson, 1, ALL);
        // Six standard deviations.
        assert!(poisson.len().abs_diff(10_000) < 600, "{}", poisson.len());
        assert!(poisson.is_sorted());
        assert!(poisson.last().is_some_and(|last| *last <= TEN));
    }

    #[test]
    fn a_rising_rate_rises() {
        let rate = Rate { from_per_s: 0.0, to_per_s: 2000.0, over: TEN };
        let even = schedule(rate, Spacing::Even, 1, ALL);
        assert_eq!(even.len(), 10_000);
        assert!(within(&even, 0, 1).abs_diff(100) <= 1);
        assert!(within(&even, 9, 10).abs_diff(1900) <= 1);
    }

    #[test]
    fn the_seed_decides_alone_and_the_limit_holds() {
        let draw = |seed| schedule(Rate::constant(100.0, TEN), Spacing::Poisson, seed, 50);
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_eq!(draw(7).len(), 50);
    }

    #[test]
    fn gaps_of_a_poisson_process_are_uneven() {
        let moments = schedule(Rate::constant(1000.0, TEN), Spacing::Poisson, 3, ALL);
        let short = moments
            .windows(2)
            .filter(|pair| pair[1].saturating_sub(pair[0]) < Duration::from_micros(500))
            .count();
        // 1 − e^(−1/2) of all gaps are shorter than half the mean.
        let share = f64::from(u32::try_from(short).unwrap()) / 10_000.0;
        assert!((share - 0.393).abs() < 0.03, "{share}");
    }
}
