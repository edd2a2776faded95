//! A reservation as the shop writes it: as JSON in the ledger, and, with a version in front, as the log's record.

use serde::Serialize;
use uuid::Uuid;

use crate::baseline::database::{HOT_ID, PRICE_MINOR};

/// A payment window, in milliseconds.
const PAYMENT_WINDOW_MS: u64 = 900_000;

/// Units held for one order.
#[derive(Clone, Debug, Serialize)]
pub struct Reservation {
    pub order_id: Uuid,
    pub request_id: Uuid,
    pub user_id: i64,
    pub pool: String,
    pub item_id: i64,
    pub quantity: u32,
    pub price_minor: i64,
    pub payment_window_ms: u64,
    pub reserved_at: String,
    pub epoch: u64,
}

/// A record of the order log.
#[derive(Serialize)]
struct Record<'a> {
    v: u32,
    #[serde(flatten)]
    body: &'a Reservation,
}

impl Reservation {
    /// One unit of this pool for this shopper, now.
    pub fn new(user_id: i64, pool: &str) -> Self {
        Self {
            order_id: Uuid::now_v7(),
            request_id: Uuid::new_v4(),
            user_id,
            pool: pool.to_owned(),
            item_id: HOT_ID,
            quantity: 1,
            price_minor: PRICE_MINOR,
            payment_window_ms: PAYMENT_WINDOW_MS,
            reserved_at: format!("{:.3}", jiff::Timestamp::now()),
            epoch: 1,
        }
    }

    /// As the ledger keeps it.
    pub fn text(&self) -> String {
        serde_json::to_string(self).expect("a reservation has only strings for keys")
    }

    /// As the log has it.
    pub fn record(&self) -> String {
        serde_json::to_string(&Record { v: 1, body: self }).expect("a reservation has only strings for keys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_size_of_a_real_one() {
        let record = Reservation::new(123_456, "promo:1").record();
        assert!(record.starts_with(r#"{"v":1,"order_id":""#), "{record}");
        assert!((250..450).contains(&record.len()), "{}", record.len());
        assert!(record.contains("Z\","), "{record}");
    }
}
