//! The token bucket that paces a waiting room. Integers only, so that every engine counts the same.

use serde::{Deserialize, Serialize};

/// What one pass costs in the token bucket. At `rate_per_s` = R, R milli-tokens arrive every millisecond.
const PASS_COST: u64 = 1000;

/// A token bucket in milli-tokens that holds one second's passes at most.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Bucket {
    milli_tokens: u64,
}

impl Bucket {
    /// Lets the tokens of so much time flow in.
    pub(super) fn fill(&mut self, elapsed_ms: u64, rate_per_s: u32) {
        let rate = u64::from(rate_per_s);
        let capacity = (rate * 1000).max(PASS_COST);
        self.milli_tokens = capacity.min(self.milli_tokens.saturating_add(elapsed_ms.saturating_mul(rate)));
    }

    pub(super) fn holds_a_pass(&self) -> bool {
        self.milli_tokens >= PASS_COST
    }

    pub(super) fn take_a_pass(&mut self) {
        self.milli_tokens -= PASS_COST;
    }
}
