//! What `crowd` tells its workers, and what they answer: one line of JSON for each. Every command gets one answer.

use std::{collections::BTreeMap, net::SocketAddr};

use serde::{Deserialize, Serialize};

/// An order to a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum Command {
    /// Be these shoppers. `first`: the number of the first of them among all workers' shoppers.
    Be { first: u32, promo: i64, targets: Vec<SocketAddr>, tokens: Vec<String> },
    /// Everybody connects and says hello, so many in each second. Answered when all are welcomed.
    Enter { per_s: f64, within_ms: u64 },
    /// Everybody joins, so many in each second, and watches no more. Answered when all have a place.
    Join { per_s: f64, within_ms: u64 },
    /// Everybody watches, so many more in each second. Answered when all do.
    Watch { per_s: f64, within_ms: u64 },
    /// Listen for a `queue` frame with so many waiting. Answered at once.
    Expect { waiting: i64 },
    /// Answered when everybody has heard it.
    Collect { within_ms: u64 },
    /// All connections are cut at once, and everybody comes back within the spread, each at a random moment. Answered when all
    /// are welcomed.
    Storm { spread_ms: u64, within_ms: u64 },
}

/// The answer to a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// How long each shopper took who is done, in microseconds: of `Enter` and `Join` from the moment that was meant for this
    /// shopper, of `Storm` from its beginning. Of `Collect` the moments themselves, since the Unix epoch.
    pub moments_us: Vec<u64>,
    /// Shoppers who were not done in time.
    pub missing: u32,
    /// Since the worker began.
    pub tally: Tally,
}

/// What went on in a worker since it began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Sockets of welcomed shoppers that ended although nobody wanted them to, by reason. Each came back, or is missing from a
    /// later answer.
    pub lost: BTreeMap<String, u32>,
    /// Attempts to enter that failed, by reason. Each was followed by another.
    pub failed: BTreeMap<String, u32>,
    /// Shoppers whose number in the line was another one than before.
    pub moved: u32,
    /// Shoppers who came back and had no place any more.
    pub displaced: u32,
    /// `error` frames, by code.
    pub errors: BTreeMap<String, u32>,
    /// Text frames that came.
    pub frames: u64,
}

impl Tally {
    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.lost, &other.lost),
            (&mut self.failed, &other.failed),
            (&mut self.errors, &other.errors),
        ];
        for (all, some) in pairs {
            for (reason, count) in some {
                *all.entry(reason.clone()).or_default() += count;
            }
        }
        self.moved += other.moved;
        self.displaced += other.displaced;
        self.frames += other.frames;
    }

    /// Sockets that ended although nobody wanted them to.
    pub fn lost(&self) -> u32 {
        self.lost.values().sum()
    }

    /// Attempts to enter that failed.
    pub fn failed(&self) -> u32 {
        self.failed.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_line() {
        let command = Command::Enter { per_s: 12.5, within_ms: 1000 };
        let line = serde_json::to_string(&command).unwrap();
        assert_eq!(line, r#"{"command":"enter","per_s":12.5,"within_ms":1000}"#);
        assert_eq!(serde_json::from_str::<Command>(&line).unwrap(), command);
    }

    #[test]
    fn tallies_add_up() {
        let some = |reason: &str| Tally {
            lost: [(reason.to_owned(), 2)].into(),
            moved: 1,
            frames: 10,
            ..Tally::default()
        };
        let mut all = some("a");
        all.add(&some("a"));
        all.add(&some("b"));
        assert_eq!((all.lost["a"], all.lost["b"], all.lost(), all.moved, all.frames), (4, 2, 6, 3, 30));
    }
}
