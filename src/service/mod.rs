//! The shop's services: what users, items and promos may do, in the domain's words.
//!
//! Knows the domain, the store and the engines, each behind its port. Knows nothing of HTTP, sockets or JSON: the
//! controllers in [`crate::api`] and the gateway translate.

pub mod catalog;
pub mod password;
pub mod token;
pub mod user;
