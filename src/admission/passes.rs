//! The passes of one waiting room: who holds which, and whose ends next. Pure.
//!
//! Knows leases in room time. Must not know why one is given or taken: that is the room's.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize, Serializer};

use crate::domain::{Timestamp, UserId};

/// A called place and how long its shopper may order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pass {
    pub number: u64,
    /// In room time.
    pub expires_at: Timestamp,
}

/// All passes that nobody has used or lost yet. Only the first map is saved: the other follows from it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "HashMap<UserId, Pass>")]
pub(super) struct Passes {
    by_user: HashMap<UserId, Pass>,
    by_expiry: BTreeSet<(Timestamp, UserId)>,
}

impl Passes {
    pub(super) fn give(&mut self, user: UserId, pass: Pass) {
        self.take(user);
        self.by_user.insert(user, pass);
        self.by_expiry.insert((pass.expires_at, user));
    }

    pub(super) fn of(&self, user: UserId) -> Option<Pass> {
        self.by_user.get(&user).copied()
    }

    pub(super) fn take(&mut self, user: UserId) -> Option<Pass> {
        let pass = self.by_user.remove(&user)?;
        self.by_expiry.remove(&(pass.expires_at, user));
        Some(pass)
    }

    /// Takes the pass that ended first, if one has ended at `room_now`; returns whose it was.
    pub(super) fn take_expired(&mut self, room_now: Timestamp) -> Option<UserId> {
        let &(expires_at, user) = self.by_expiry.first()?;
        if expires_at > room_now {
            return None;
        }
        self.take(user);
        Some(user)
    }

    pub(super) fn len(&self) -> usize {
        self.by_user.len()
    }

    pub(super) fn users(&self) -> impl Iterator<Item = UserId> {
        self.by_user.keys().copied()
    }

    /// Numbers and their shoppers, in the order in which they were called.
    pub(super) fn by_number(&self) -> Vec<(u64, UserId)> {
        let mut called: Vec<_> = self.by_user.iter().map(|(user, pass)| (pass.number, *user)).collect();
        called.sort_unstable();
        called
    }
}

impl From<HashMap<UserId, Pass>> for Passes {
    fn from(by_user: HashMap<UserId, Pass>) -> Self {
        let by_expiry = by_user.iter().map(|(user, pass)| (pass.expires_at, *user)).collect();
        Self { by_user, by_expiry }
    }
}

impl Serialize for Passes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.by_user.serialize(serializer)
    }
}
