//! The store: the shop's durable truth, behind one DAO trait per table family.
//!
//! Knows the domain and SQL. Knows nothing of ledgers, waiting rooms or sockets. Every method is one transaction.
//!
//! What both engines must decide alike is pure and stands beside them: `decide` for a batch of reservations,
//! `rules` for stages, stock and closings, `rows` for what a row says,
//! `lists` for what a statement is given. An engine is SQL around these.

pub mod mysql;
pub mod port;
pub mod sqlite;

mod decide;
mod lists;
mod rows;
mod rules;

#[cfg(test)]
mod conformance;
