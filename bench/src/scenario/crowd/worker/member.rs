//! A shopper and the socket, if there is one.

use std::time::{Duration, Instant};

use rand::{Rng, rngs::StdRng};

use crate::scenario::crowd::{shopper::Shopper, tiny::Tiny};

/// The bounds of the pause before the next attempt to enter.
const PAUSE_MIN_MS: u64 = 200;
const PAUSE_MAX_MS: u64 = 5_000;
/// Doublings of the pause, at most.
const DOUBLINGS: u32 = 5;

/// One of the worker's shoppers.
#[derive(Debug)]
pub struct Member {
    pub shopper: Shopper,
    pub socket: Option<Tiny>,
    pub is_welcome: bool,
    /// Has asked the server for something, and has no answer yet.
    pub is_asking: bool,
    /// Has reached the goal of the command that is being obeyed.
    pub is_done: bool,
    /// Since when this attempt to enter has been made.
    pub entering_since: Instant,
    /// When the shopper meant to do what is being waited for.
    pub meant: Instant,
    /// Attempts to enter that failed, one after the other.
    pub failures: u32,
    /// When the server wants this shopper back.
    pub called_back_ms: Option<u64>,
}

impl Member {
    /// One who has not come yet.
    pub fn new(token: String, now: Instant) -> Self {
        Self {
            shopper: Shopper::new(token),
            socket: None,
            is_welcome: false,
            is_asking: false,
            is_done: false,
            entering_since: now,
            meant: now,
            failures: 0,
            called_back_ms: None,
        }
    }

    /// How long to wait before the next attempt: as long as the server said, or else at random, longer after each failure.
    pub fn pause(&mut self, chance: &mut StdRng) -> Duration {
        let most = (PAUSE_MIN_MS << self.failures.min(DOUBLINGS)).min(PAUSE_MAX_MS);
        Duration::from_millis(self.called_back_ms.take().unwrap_or_else(|| chance.random_range(0..=most)))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_pause_is_bounded_and_the_servers_word_comes_first() {
        let (mut member, mut chance) =
            (Member::new("t".to_owned(), Instant::now()), StdRng::seed_from_u64(1));
        assert!(member.pause(&mut chance) <= Duration::from_millis(PAUSE_MIN_MS));
        member.failures = 1000;
        assert!((0..100).all(|_| member.pause(&mut chance) <= Duration::from_millis(PAUSE_MAX_MS)));
        member.called_back_ms = Some(7);
        assert_eq!(member.pause(&mut chance), Duration::from_millis(7));
    }
}
