//! PanicBuying: a real-time queueing gateway for flash sales.
//!
//! `docs/architecture.md` is the map. Each module is one stage of the way through, or one layer of the shop around it.

pub mod admission;
pub mod api;
pub mod app;
pub mod clock;
pub mod config;
pub mod demo;
pub mod domain;
pub mod gateway;
pub mod lifecycle;
pub mod order_log;
pub mod order_writer;
pub mod random;
pub mod recovery;
pub mod redis;
pub mod reservation;
pub mod results;
pub mod service;
pub mod store;
pub mod telemetry;
