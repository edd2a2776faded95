//! Reservation: the atomic step that takes a shopper's units out of a pool, and everything that undoes or seals it.
//!
//! [`ledger`] is the pure state machine and the executable specification, [`pool`] joins it with the waiting room, [`port`] what the rest of the system may ask of
//! it, [`memory`] the in-process engine, [`redis`] the one that many processes share. Knows the domain and, because using up a pass must be one step with the
//! deduction, the waiting room of the same pool. Knows nothing of sockets, logs or databases.

#[cfg(test)]
mod conformance;
pub mod ledger;
pub mod memory;
pub mod pool;
pub mod port;
pub mod redis;
