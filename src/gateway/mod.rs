//! The gateway: shoppers' sockets, from the handshake to the last frame.
//!
//! [`server`] accepts connections, [`upgrade`] decides who gets a socket, [`session`] is one socket's loop, [`conversation`] what each
//! of its frames does, [`protocol`] the frames and [`close`] the close codes. [`registry`] knows every socket of this process,
//! [`outbox`] holds what one of them is to hear, and [`hub`] brings the news. Knows the services and the bus; knows no engine.

pub mod close;
pub mod conversation;
pub mod hub;
pub mod outbox;
pub mod protocol;
pub mod registry;
pub mod server;
pub mod session;
pub mod upgrade;
