//! The order writer: from the log to the database to the verdict, batch by batch.
//!
//! [`writer`] reads a batch, writes it in one transaction, settles the ledger, which tells the outcomes, and only then commits its
//! place in the log, so that dying anywhere repeats steps that do nothing the second time. [`closings`] tells the ledger
//! of orders that were paid, cancelled or expired, and [`payment_window`] expires them on time.

pub mod closings;
pub mod payment_window;
pub mod writer;
