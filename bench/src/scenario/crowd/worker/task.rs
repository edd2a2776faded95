//! The command that is being obeyed: who is done, and when it is answered. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// What each shopper has to reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    Nothing,
    /// To be welcomed.
    Welcome,
    /// To have a number in the line.
    Place,
    /// To have heard a `queue` frame after asking to watch.
    Watch,
    /// To have heard the frame that everybody listens for.
    Frame,
    /// To be welcomed again.
    Return,
}

/// A command that is being obeyed.
#[derive(Debug)]
pub struct Task {
    pub goal: Goal,
    until: Instant,
    wanted: usize,
    moments_us: Vec<u64>,
}

impl Task {
    /// So many shoppers have to reach the goal, and have so long for it.
    pub fn new(goal: Goal, wanted: usize, since: Instant, within_ms: u64) -> Self {
        let until = since + Duration::from_millis(within_ms);
        Self { goal, until, wanted, moments_us: Vec::with_capacity(wanted) }
    }

    /// Nobody has to do anything.
    pub fn nothing(since: Instant) -> Self {
        Self::new(Goal::Nothing, 0, since, 0)
    }

    /// Somebody has reached the goal.
    pub fn note(&mut self, moment_us: u64) {
        self.moments_us.push(moment_us);
    }

    /// How long it may go on.
    pub fn left(&self, now: Instant) -> Duration {
        self.until.saturating_duration_since(now)
    }

    /// Whether it is to be answered now.
    pub fn is_over(&self, now: Instant) -> bool {
        self.moments_us.len() >= self.wanted || now >= self.until
    }

    /// The moments, and how many shoppers are missing.
    pub fn end(self) -> (Vec<u64>, u32) {
        let missing = self.wanted.saturating_sub(self.moments_us.len());
        (self.moments_us, u32::try_from(missing).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_over_when_all_are_done_or_the_time_is() {
        let now = Instant::now();
        let mut task = Task::new(Goal::Welcome, 2, now, 1000);
        task.note(5);
        assert!(!task.is_over(now));
        assert!(task.is_over(now + Duration::from_secs(1)));
        task.note(6);
        assert!(task.is_over(now));
        assert_eq!(task.end(), (vec![5, 6], 0));
        assert!(Task::nothing(now).is_over(now));
        assert_eq!(Task::new(Goal::Place, 3, now, 0).end(), (vec![], 3));
    }
}
