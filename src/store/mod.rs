//! The store: the shop's durable truth, behind one DAO trait per table family.
//!
//! Knows the domain and SQL. Knows nothing of ledgers, waiting rooms or sockets. Every method is one transaction.

pub mod port;
