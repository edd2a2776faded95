//! The only place that reads the time. Everything else is given an instant, or asks here at its outer edge.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::domain::Timestamp;

/// The current time.
#[expect(clippy::disallowed_methods, reason = "this is the module that reads the clock")]
pub fn now() -> Timestamp {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}
