//! The only place that draws random numbers and makes random ids.

use rand::{Rng, RngCore};
use uuid::Uuid;

use crate::domain::{OrderId, Seed};

/// A fresh order id; sorts after those made before it.
#[expect(clippy::disallowed_methods, reason = "this is the module that makes ids")]
pub fn order_id() -> OrderId {
    OrderId(Uuid::now_v7())
}

/// A fresh random id, for sessions and requests.
#[expect(clippy::disallowed_methods, reason = "this is the module that makes ids")]
pub fn uuid() -> Uuid {
    Uuid::new_v4()
}

/// A fresh secret for a promo's draw, from the operating system's generator.
pub fn seed() -> Seed {
    Seed(bytes())
}

/// Secret random bytes.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rng().fill_bytes(&mut bytes);
    bytes
}

/// A number below `bound`, uniformly; 0 for a bound of 0.
pub fn below(bound: u64) -> u64 {
    if bound == 0 { 0 } else { rng().random_range(0..bound) }
}

#[expect(clippy::disallowed_methods, reason = "this is the module that draws random numbers")]
fn rng() -> rand::rngs::ThreadRng {
    rand::rng()
}
