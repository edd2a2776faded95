//! The search for the highest rate that holds: doubles until one does not, then halves the gap. Pure.

/// Where the search stands.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    next: f64,
    held: Option<f64>,
    failed: Option<f64>,
    /// No rate above this is tried.
    limit: f64,
}

/// The search ends when what held and what did not are this close.
const PRECISION: f64 = 0.06;
/// A search that starts far too high gives up below this.
const LOWEST_PER_S: f64 = 10.0;

impl Search {
    /// Starts at this rate, and never goes above the limit.
    pub fn new(start_per_s: f64, limit_per_s: f64) -> Self {
        Self { next: start_per_s.min(limit_per_s), held: None, failed: None, limit: limit_per_s }
    }

    /// The rate to try next; `None` when the search is over.
    pub fn next(&self) -> Option<f64> {
        match (self.held, self.failed) {
            (Some(held), Some(failed)) if failed / held <= 1.0 + PRECISION => None,
            (Some(held), None) if held >= self.limit => None,
            (None, Some(failed)) if failed <= LOWEST_PER_S => None,
            _ => Some(self.next),
        }
    }

    /// Tells whether this rate held.
    pub fn told(&mut self, rate: f64, held: bool) {
        if held {
            self.held = Some(self.held.map_or(rate, |best| best.max(rate)));
        } else {
            self.failed = Some(self.failed.map_or(rate, |worst| worst.min(rate)));
        }
        self.next = match (self.held, self.failed) {
            (Some(held), Some(failed)) => f64::midpoint(held, failed),
            (Some(held), None) => (held * 2.0).min(self.limit),
            (None, Some(failed)) => failed / 2.0,
            (None, None) => self.next,
        };
    }

    /// The highest rate that held.
    pub fn best(&self) -> Option<f64> {
        self.held
    }

    /// Whether the limit of the search was reached before anything failed: the true rate may be higher.
    pub fn is_capped(&self) -> bool {
        self.failed.is_none() && self.held.is_some_and(|held| held >= self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches where everything up to `capacity` holds; returns the search and how many rates were tried.
    fn search(capacity: f64, start: f64, limit: f64) -> (Search, u32) {
        let mut search = Search::new(start, limit);
        let mut tries = 0;
        while let Some(rate) = search.next() {
            search.told(rate, rate <= capacity);
            tries += 1;
            assert!(tries < 50, "no end: {search:?}");
        }
        (search, tries)
    }

    #[test]
    fn the_capacity_is_found_from_below_and_from_above() {
        for start in [500.0, 3000.0, 40_000.0] {
            let (found, tries) = search(3700.0, start, 100_000.0);
            let best = found.best().unwrap();
            assert!((3700.0 / 1.06..=3700.0).contains(&best), "{best}");
            assert!(tries < 14 && !found.is_capped());
        }
    }

    #[test]
    fn the_limit_is_never_passed_and_a_dead_server_ends_the_search() {
        let (found, _) = search(9000.0, 500.0, 6000.0);
        assert_eq!(found.best(), Some(6000.0));
        assert!(found.is_capped());
        assert_eq!(search(0.0, 500.0, 6000.0).0.best(), None);
    }
}
