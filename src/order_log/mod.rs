//! The order log: what was accepted, in order, until it is settled.
//!
//! [`port`] is what the rest of the system may ask, [`record`] the form on disk, [`sqlite`] the embedded engine, [`kafka`] that of a cluster, and [`relay`]
//! the guarantee that what is reserved is logged. An order is durable, and the shopper is told so, once it is here.

#[cfg(test)]
mod conformance;
pub mod kafka;
pub mod port;
pub mod record;
pub mod relay;
pub mod sqlite;
