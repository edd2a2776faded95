//! The scenarios: what shoppers do to a deployment. Each knows the wire contract alone.

pub mod crowd;
pub mod orders;
pub mod soldout;
pub mod stampede;
