//! What is to be done when. Pure: the time is an argument.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

/// Something that a shopper does at a time of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Errand {
    Connect,
    Join,
    Watch,
}

/// Errands of shoppers, by number, the earliest first.
#[derive(Debug, Default)]
pub struct Agenda(BinaryHeap<Reverse<(Instant, usize, Errand)>>);

impl Agenda {
    /// Puts an errand of the n-th shopper on it.
    pub fn put(&mut self, at: Instant, nth: usize, errand: Errand) {
        self.0.push(Reverse((at, nth, errand)));
    }

    /// Takes the earliest errand if it is due.
    pub fn due(&mut self, now: Instant) -> Option<(usize, Errand)> {
        let Reverse((at, ..)) = self.0.peek()?;
        if *at > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, nth, errand))| (nth, errand))
    }

    /// How long it is until the next errand.
    pub fn next_in(&self, now: Instant) -> Option<Duration> {
        self.0.peek().map(|Reverse((at, ..))| at.saturating_duration_since(now))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errands_come_when_they_are_due_and_in_order() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        let at = |ms| now + Duration::from_millis(ms);
        agenda.put(at(20), 1, Errand::Join);
        agenda.put(at(10), 2, Errand::Connect);
        assert_eq!(agenda.due(at(9)), None);
        assert_eq!(agenda.next_in(at(9)), Some(Duration::from_millis(1)));
        assert_eq!(agenda.due(at(15)), Some((2, Errand::Connect)));
        assert_eq!(agenda.due(at(15)), None);
        assert_eq!(agenda.due(at(99)), Some((1, Errand::Join)));
        assert_eq!(agenda.next_in(now), None);
    }
}
