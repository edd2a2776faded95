//! What one reader owns of the log, and how far it has come: pure.
//!
//! A settled position counts only if it was read since its partition was last assigned: an older one could take back what
//! another reader has committed meanwhile.

use std::collections::BTreeMap;

use crate::order_log::port::Position;

/// The partitions of one reader.
#[derive(Debug, Default)]
pub(super) struct Ownership(BTreeMap<i32, Owned>);

#[derive(Clone, Copy, Debug, Default)]
struct Owned {
    /// The first offset read since the partition was assigned.
    first: Option<i64>,
    /// Behind the last offset read.
    next: Option<i64>,
    /// Behind the last offset settled that the brokers do not know of yet.
    settled: Option<i64>,
}

impl Ownership {
    pub fn assigned(&mut self, partition: i32) {
        self.0.entry(partition).or_default();
    }

    pub fn revoked(&mut self, partition: i32) {
        self.0.remove(&partition);
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    pub fn read(&mut self, at: Position) {
        if let Some(owned) = self.0.get_mut(&at.partition) {
            owned.first.get_or_insert(at.offset);
            owned.next = Some(at.offset + 1);
        }
    }

    /// Notes that everything up to and including `at` is settled; false if the partition was lost since it was read.
    pub fn settled(&mut self, at: Position) -> bool {
        let Some(owned) = self.0.get_mut(&at.partition) else { return false };
        if owned.first.is_none_or(|first| at.offset < first) {
            return false;
        }
        owned.settled = owned.settled.max(Some(at.offset + 1));
        true
    }

    /// Whether there is something to commit.
    pub fn has_uncommitted(&self) -> bool {
        self.0.values().any(|owned| owned.settled.is_some())
    }

    /// What to commit: the offset behind the last settled one, for each partition.
    pub fn uncommitted(&self) -> Vec<Position> {
        let settled =
            |(&partition, owned): (&i32, &Owned)| owned.settled.map(|offset| Position { partition, offset });
        self.0.iter().filter_map(settled).collect()
    }

    /// The brokers know of these.
    pub fn committed(&mut self, offsets: &[Position]) {
        for at in offsets {
            if let Some(owned) = self.0.get_mut(&at.partition)
                && owned.settled == Some(at.offset)
            {
                owned.settled = None;
            }
        }
    }

    /// The owned partitions, and the offset that each is to be read from next, if anything was read.
    pub fn reached(&self) -> impl Iterator<Item = (i32, Option<i64>)> {
        self.0.iter().map(|(&partition, owned)| (partition, owned.next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(partition: i32, offset: i64) -> Position {
        Position { partition, offset }
    }

    /// Owns partition 1 and has read 5, 6 and 7 of it.
    fn reading() -> Ownership {
        let mut ownership = Ownership::default();
        ownership.assigned(1);
        for offset in 5..8 {
            ownership.read(at(1, offset));
        }
        ownership
    }

    #[test]
    fn what_was_read_and_settled_is_committed_once() {
        let mut ownership = reading();
        assert!(ownership.settled(at(1, 6)));
        assert_eq!(ownership.uncommitted(), [at(1, 7)]);
        ownership.committed(&[at(1, 7)]);
        assert!(ownership.uncommitted().is_empty());
    }

    #[test]
    fn what_is_settled_while_a_commit_is_under_way_stays_to_be_committed() {
        let mut ownership = reading();
        ownership.settled(at(1, 5));
        let sent = ownership.uncommitted();
        ownership.settled(at(1, 7));
        ownership.committed(&sent);
        assert_eq!(ownership.uncommitted(), [at(1, 8)]);
    }

    #[test]
    fn a_lost_partition_is_not_committed() {
        let mut ownership = reading();
        ownership.settled(at(1, 5));
        ownership.revoked(1);
        assert!(!ownership.settled(at(1, 6)));
        assert!(ownership.uncommitted().is_empty());
    }

    #[test]
    fn a_partition_that_came_back_is_not_set_back() {
        let mut ownership = reading();
        ownership.revoked(1);
        ownership.assigned(1);
        assert!(!ownership.settled(at(1, 7)), "nothing was read since it came back");
        ownership.read(at(1, 20));
        assert!(!ownership.settled(at(1, 7)), "another reader has settled up to 20");
        assert!(ownership.settled(at(1, 20)));
    }

    #[test]
    fn an_assignment_that_repeats_itself_forgets_nothing() {
        let mut ownership = reading();
        ownership.assigned(1);
        assert_eq!(ownership.reached().collect::<Vec<_>>(), [(1, Some(8))]);
    }
}
