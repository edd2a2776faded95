//! How far a pool's news has been heard. Pure.

use std::{fmt, str::FromStr};

/// An entry's place in its pool's news, and the id of the stream entry. Grows for ever, across rebuilt ledgers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    pub epoch: u64,
    pub n: u64,
}

/// What an entry is to somebody who has heard up to a certain position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Exactly what comes next.
    Next,
    /// Heard already.
    Old,
    /// Some before it are missing.
    Gap,
    /// The ledger was built anew, and nobody can tell what was missed before.
    Rebuilt,
}

/// Up to where a pool's news has been delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing yet; what comes after this is owed. What comes before it is welcome: it was on its way when the
    /// pool began to be followed.
    From(Position),
    /// Everything, since the pool is followed, up to this.
    At(Position),
}

impl Mark {
    pub fn position(self) -> Position {
        let (Self::From(position) | Self::At(position)) = self;
        position
    }

    /// What `entry` is to whoever has heard up to this mark.
    pub fn step(self, entry: Position) -> Step {
        match self {
            Self::From(start) if entry <= start => Step::Next,
            Self::From(heard) | Self::At(heard) => heard.step(entry),
        }
    }
}

impl Position {
    /// Before the first entry of a pool.
    pub const START: Self = Self { epoch: 0, n: 0 };

    /// What `entry` is to somebody who has heard everything up to here.
    fn step(self, entry: Self) -> Step {
        if entry <= self {
            Step::Old
        } else if entry.n == 1 && self == Self::START {
            Step::Next
        } else if entry.epoch != self.epoch && self != Self::START {
            Step::Rebuilt
        } else if entry.epoch == self.epoch && entry.n == self.n + 1 {
            Step::Next
        } else {
            Step::Gap
        }
    }

    /// The smallest position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self { n: self.n.saturating_add(1), ..self }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.n)
    }
}

/// The text is not a stream id.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not the id of a stream entry")]
pub struct NotAPosition(String);

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let parse = || {
            let (epoch, n) = text.split_once('-')?;
            Some(Self { epoch: epoch.parse().ok()?, n: n.parse().ok()? })
        };
        parse().ok_or_else(|| NotAPosition(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_next_or_old_or_shows_what_is_missing() {
        let at = |epoch, n| Position { epoch, n };
        assert_eq!(at(2, 5).step(at(2, 6)), Step::Next);
        assert_eq!(at(2, 5).step(at(2, 5)), Step::Old);
        assert_eq!(at(2, 5).step(at(1, 9)), Step::Old);
        assert_eq!(at(2, 5).step(at(2, 7)), Step::Gap);
        assert_eq!(at(2, 5).step(at(3, 1)), Step::Rebuilt);
        assert_eq!(Position::START.step(at(4, 1)), Step::Next);
        assert_eq!(Position::START.step(at(4, 2)), Step::Gap);
        assert_eq!(at(2, 5).to_string().parse::<Position>().unwrap(), at(2, 5));
        assert!("2:5".parse::<Position>().is_err());
    }
}
