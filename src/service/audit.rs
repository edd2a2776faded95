//! The audit of a promo's stock: conservation, from the ledger and from the database.
//!
//! Reads both and compares; changes nothing.

use crate::{
    reservation::port::Snapshot,
    store::port::{Books, PoolRow},
};

/// A promo's stock as its two keepers have it.
#[derive(Clone, Copy, Debug)]
pub struct Audit {
    pub ledger: Snapshot,
    pub database: PoolRow,
    /// Nothing is lost, nothing is sold twice.
    pub ok: bool,
}

impl Audit {
    /// `before` and `after` are the ledger as it was before and after the database was read: a sale does not stand
    /// still for its auditor.
    pub fn new(before: &Snapshot, books: &Books, after: Snapshot) -> Self {
        Self { ledger: after, database: books.row, ok: conserved(before, books, &after) }
    }
}

/// Every unit of the ledger is available, pending or sold; the database has not sold more than it had; and both agree,
/// except that the database may already have written orders that are still pending in the ledger, and may already have
/// taken back units of orders that the ledger has yet to hear were closed.
fn conserved(before: &Snapshot, books: &Books, after: &Snapshot) -> bool {
    let database = &books.row;
    let sum = u64::from(after.available) + u64::from(after.pending) + u64::from(after.sold);
    let sold = u64::from(database.sold);
    sum == u64::from(after.initial)
        && database.sold <= database.initial
        && database.initial == after.initial
        && sold + u64::from(books.returning) >= u64::from(before.sold.min(after.sold))
        && sold <= u64::from(after.sold) + u64::from(after.pending)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, PoolId, PromoId};

    const LEDGER: Snapshot =
        Snapshot { initial: 10, available: 5, pending: 2, sold: 3, holds: 1, version: 7 };

    fn row(initial: u32, sold: u32) -> PoolRow {
        PoolRow { pool: PoolId::Promo(PromoId(1)), initial, sold, epoch: Epoch::default() }
    }

    fn ok(before: Snapshot, initial: u32, sold: u32, after: Snapshot) -> bool {
        let row = row(initial, sold);
        Audit::new(&before, &Books { row, returning: 0 }, after).ok
    }

    #[test]
    fn the_database_may_be_ahead_by_what_is_pending_and_no_further() {
        let still = |sold| ok(LEDGER, 10, sold, LEDGER);
        assert!(!still(2));
        assert!(still(3));
        assert!(still(5));
        assert!(!still(6));
    }

    #[test]
    fn units_on_their_way_back_to_the_ledger_are_allowed_for() {
        let row = row(10, 2);
        let ok = |returning| Audit::new(&LEDGER, &Books { row, returning }, LEDGER).ok;
        assert!(!ok(0));
        assert!(ok(1));
    }

    #[test]
    fn what_is_sold_between_the_two_reads_is_allowed_for() {
        let after = Snapshot { available: 1, sold: 7, ..LEDGER };
        assert!(ok(LEDGER, 10, 6, after));
        assert!(!ok(LEDGER, 10, 10, after));
    }

    #[test]
    fn lost_units_and_oversale_are_found() {
        assert!(!ok(LEDGER, 10, 3, Snapshot { available: 4, ..LEDGER }));
        assert!(!ok(LEDGER, 11, 3, LEDGER));
        assert!(!ok(LEDGER, 9, 10, Snapshot { available: 0, pending: 0, sold: 10, ..LEDGER }));
    }
}
