//! Results: how news about a shopper reaches the gateway that holds their sockets.
//!
//! [`port`] is what the rest of the system may ask, [`memory`] the in-process bus, [`redis`] the bus of many processes. The bus is quick, not reliable: who
//! falls behind is told so and reads state instead, so push latency, not correctness, depends on it.

pub mod memory;
pub mod port;
pub mod redis;
