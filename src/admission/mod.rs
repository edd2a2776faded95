//! Admission: the waiting room. Who joined, in which place, who is called, who holds a pass.
//!
//! [`room`] is the pure state machine and the executable specification, [`port`] what the rest of the system may ask of
//! it, [`ticker`] acts on time, [`brake`] says how the order log holds it back, [`saved`] keeps
//! the in-process engine's rooms on disk. A place belongs to the shopper, not to a socket: nothing here knows sockets.

pub mod brake;
mod bucket;
mod passes;
pub mod port;
pub mod room;
pub mod saved;
pub mod ticker;
