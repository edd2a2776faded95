//! What a measurement has found, as JSON and for the report. Plain values: knows no scenario and measures nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The result of one scenario or baseline. Every unit is in the name of its number: `rate_per_s`, `p99_ms`, `rss_bytes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The scenario's name as on the command line.
    pub scenario: String,
    /// Everything that was set, so that the run can be made again.
    pub settings: BTreeMap<String, Value>,
    /// Single numbers.
    pub numbers: BTreeMap<String, f64>,
    /// Distributions of latency, by what was waited for.
    pub latencies: BTreeMap<String, Percentiles>,
    /// Points (x, y) for plots; the name says both units, `orders_per_s_over_s`.
    pub series: BTreeMap<String, Vec<(f64, f64)>>,
    /// Promises that were broken, with how often. All must be 0.
    pub faults: BTreeMap<String, u64>,
}

/// One distribution of latency, in milliseconds, counted from the intended start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    pub count: u64,
    pub min_ms: f64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
    /// (percentile, milliseconds), for plots.
    pub curve: Vec<(f64, f64)>,
}

impl Found {
    /// An empty result of this scenario.
    pub fn new(scenario: &str) -> Self {
        Self { scenario: scenario.to_owned(), ..Self::default() }
    }

    /// Notes a setting.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.settings.insert(name.to_owned(), value.into());
    }

    /// Notes a number.
    pub fn note(&mut self, name: &str, number: f64) {
        self.numbers.insert(name.to_owned(), number);
    }

    /// Whether any promise was broken.
    pub fn is_faulty(&self) -> bool {
        self.faults.values().any(|count| *count > 0)
    }
}

/// A count as a number of a result.
#[expect(clippy::cast_precision_loss, reason = "counts of a load test are far below 2^52")]
pub fn count(number: usize) -> f64 {
    number as f64
}

/// The middle of these values (the mean of the two middle ones if they are even in number), and `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bad_repeat_does_not_move_the_median() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 100.0, 2.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_result_survives_json() {
        let mut found = Found::new("orders");
        found.set("shoppers", 60);
        found.note("rate_per_s", 12.5);
        found.faults.insert("oversold".to_owned(), 0);
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Found>(&text).unwrap(), found);
        assert!(!found.is_faulty());
        found.faults.insert("stranded".to_owned(), 1);
        assert!(found.is_faulty());
    }
}
