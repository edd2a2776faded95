//! The project's targets, and whether a set of results meets them. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::found::{Found, count};

/// One target, with what was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Target {
    pub name: String,
    /// In a person's words, unit included.
    pub what: String,
    /// What was measured; none if the measurement failed.
    pub value: Option<f64>,
    #[serde(rename = "target")]
    pub wanted: f64,
    /// Whether the value must be at least or at most what is wanted.
    pub at: At,
    pub met: bool,
}

/// The side of a target that is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum At {
    Least,
    Most,
}

/// Results by the name of their step.
pub type Results = BTreeMap<String, Found>;

/// Where a value comes from. Its name, what it is, its side and bound, and how it is computed.
struct Rule(&'static str, &'static str, At, f64, fn(&Results) -> Option<f64>);

/// The targets of every report.
const STANDARD: [Rule; 9] = [
    Rule(
        "orders_vs_classic",
        "orders/s over sockets, times the usual design's: lock, update, insert",
        At::Least,
        10.0,
        |all| Some(number(all, "orders", "rate_per_s")? / number(all, "classic", "textbook_orders_per_s")?),
    ),
    Rule(
        "orders_vs_short_lock",
        "the same, times that of a design that inserts first and holds the lock as shortly as one can",
        At::Least,
        10.0,
        |all| Some(number(all, "orders", "rate_per_s")? / number(all, "classic", "short_lock_orders_per_s")?),
    ),
    Rule(
        "orders_vs_batched_ceiling",
        "orders/s over sockets, as a share of batched inserts alone",
        At::Least,
        0.4,
        |all| Some(number(all, "orders", "rate_per_s")? / number(all, "ceiling", "batched_orders_per_s")?),
    ),
    Rule(
        "reserve_vs_evalsha",
        "batched reservations/s, times one EVALSHA after the other",
        At::Least,
        2.0,
        |all| {
            Some(
                number(all, "ceiling", "script_orders_per_s_batched_128")?
                    / number(all, "ceiling", "script_orders_per_s_single")?,
            )
        },
    ),
    Rule("soldout_vs_orders", "sold-out refusals/s, times the order rate", At::Least, 10.0, |all| {
        Some(number(all, "soldout", "rate_per_s")? / number(all, "orders", "rate_per_s")?)
    }),
    Rule(
        "rss_per_shopper_bytes",
        "resident bytes of a gateway per waiting shopper",
        At::Most,
        5120.0,
        |all| number(all, "crowd", "rss_bytes_per_waiting_shopper"),
    ),
    Rule("accepted_p99_ms", "`accepted` p99 at half the highest rate, ms", At::Most, 10.0, |all| {
        number(all, "orders", "half_accepted_p99_ms")
    }),
    Rule("outcome_p99_ms", "`outcome` p99 at half the highest rate, ms", At::Most, 50.0, |all| {
        number(all, "orders", "half_outcome_p99_ms")
    }),
    Rule("auditor_faults", "broken promises in all scenarios", At::Most, 0.0, |all| {
        // A scenario that failed has not been audited, and proves nothing.
        let audited = ["stampede", "orders", "soldout", "crowd"].iter().all(|name| all.contains_key(*name));
        let faults: u64 = all.values().flat_map(|found| found.faults.values()).sum();
        audited.then_some(count(usize::try_from(faults).unwrap_or(usize::MAX)))
    }),
];

/// Further targets of the full report.
const FULL: [Rule; 6] = [
    Rule(
        "rss_growth_1000_to_18800",
        "resident bytes per waiting shopper at 18,800 sockets, times those at 1,000",
        At::Most,
        1.1,
        |all| {
            let each = |step| number(all, step, "rss_bytes_per_waiting_shopper");
            Some(each("crowd_18800")? / each("crowd")?)
        },
    ),
    Rule(
        "queue_frame_to_100000_ms",
        "a `queue` frame to 100,000 sockets, p50 of the last one, ms",
        At::Most,
        1000.0,
        |all| {
            let last = all.get("crowd_100000")?.latencies.get("queue_frame_to_everybody")?;
            Some(last.p50_ms)
        },
    ),
    Rule(
        "cores_of_100000_sockets",
        "gateways' processor seconds per `queue` frame to 100,000",
        At::Most,
        1.0,
        |all| number(all, "crowd_100000", "gateways_cpu_s_per_broadcast"),
    ),
    Rule(
        "embedded_vs_cluster",
        "orders/s of the embedded engines, times the cluster's",
        At::Least,
        1.0,
        |all| Some(number(all, "orders_embedded", "rate_per_s")? / number(all, "orders", "rate_per_s")?),
    ),
    Rule(
        "cost_growth_over_orders",
        "processor time per order, last third times first third",
        At::Most,
        1.1,
        |all| growth(all.get("orders_long")?.series.get("cpu_us_per_order_over_orders")?),
    ),
    Rule(
        "wait_growth_over_sockets",
        "processor time per frame at 100,000 sockets, times that at 1,000",
        At::Most,
        1.25,
        |all| {
            let each = |step| number(all, step, "gateways_cpu_us_per_frame");
            Some(each("crowd_100000")? / each("crowd")?)
        },
    ),
];

/// Judges the results. A value that could not be measured is not met.
pub fn judge(results: &Results, full: bool) -> Vec<Target> {
    let further = if full { &FULL[..] } else { &[] };
    STANDARD.iter().chain(further).map(|rule| rule.judge(results)).collect()
}

impl Rule {
    fn judge(&self, results: &Results) -> Target {
        let Self(name, what, at, wanted, value) = self;
        let value = value(results).filter(|value| value.is_finite());
        let met = value.is_some_and(|value| match at {
            At::Least => value >= *wanted,
            At::Most => value <= *wanted,
        });
        Target { name: (*name).to_owned(), what: (*what).to_owned(), value, wanted: *wanted, at: *at, met }
    }
}

fn number(all: &Results, step: &str, name: &str) -> Option<f64> {
    all.get(step)?.numbers.get(name).copied()
}

/// The mean of the last third over the mean of the first third.
fn growth(points: &[(f64, f64)]) -> Option<f64> {
    let third = points.len() / 3;
    let mean = |some: &[(f64, f64)]| some.iter().map(|(_, y)| y).sum::<f64>() / count(some.len());
    (third > 0).then(|| mean(&points[points.len() - third..]) / mean(&points[..third]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let mut all = Results::new();
        let mut note = |step: &str, name: &str, value: f64| {
            all.entry(step.to_owned()).or_insert_with(|| Found::new(step)).note(name, value);
        };
        note("orders", "rate_per_s", 4000.0);
        note("orders", "half_accepted_p99_ms", 9.0);
        note("orders", "half_outcome_p99_ms", 51.0);
        note("classic", "textbook_orders_per_s", 400.0);
        note("ceiling", "batched_orders_per_s", 10_000.0);
        note("soldout", "rate_per_s", 39_000.0);
        note("crowd", "rss_bytes_per_waiting_shopper", 5000.0);
        note("stampede", "orders", 10.0);
        all
    }

    fn met(results: &Results, name: &str) -> bool {
        judge(results, true).into_iter().find(|target| target.name == name).unwrap().met
    }

    #[test]
    fn targets_are_met_on_their_own_side() {
        let all = results();
        assert!(met(&all, "orders_vs_classic"));
        assert!(met(&all, "orders_vs_batched_ceiling"));
        assert!(!met(&all, "soldout_vs_orders"));
        assert!(met(&all, "accepted_p99_ms"));
        assert!(!met(&all, "outcome_p99_ms"));
        assert!(met(&all, "rss_per_shopper_bytes"));
        assert!(met(&all, "auditor_faults"));
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let mut all = results();
        assert!(!met(&all, "reserve_vs_evalsha"));
        all.remove("stampede");
        assert!(!met(&all, "auditor_faults"), "an audit that never was proves nothing");
        assert!(judge(&Results::new(), true).iter().all(|target| !target.met && target.value.is_none()));
    }

    #[test]
    fn one_fault_anywhere_is_seen() {
        let mut all = results();
        all.get_mut("orders").unwrap().faults.insert("oversold".to_owned(), 1);
        assert!(!met(&all, "auditor_faults"));
    }

    #[test]
    fn growth_compares_the_ends() {
        let points: Vec<_> = [1.0, 1.0, 5.0, 5.0, 2.0, 2.0].iter().map(|y| (0.0, *y)).collect();
        assert_eq!(growth(&points), Some(2.0));
        assert_eq!(growth(&points[..2]), None);
    }
}
