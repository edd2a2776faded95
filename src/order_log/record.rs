//! The form of a log record: one JSON object with a version.

use serde::{Deserialize, Serialize};

use crate::{
    domain::{OrderId, PoolId},
    reservation::port::Reservation,
};

use super::port::Poison;

/// The version this program writes. It reads every version up to this one.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Record<T> {
    v: u32,
    #[serde(flatten)]
    body: T,
}

/// What a poisoned record may still tell.
#[derive(Deserialize)]
struct Traces {
    order_id: OrderId,
    pool: PoolId,
}

/// The record of a reservation.
pub fn encode(reservation: &Reservation) -> String {
    let record = Record { v: VERSION, body: reservation };
    serde_json::to_string(&record).expect("a reservation has no map with other keys than strings")
}

/// The reservation of a record, or what is wrong with it.
pub fn decode(payload: &str) -> Result<Reservation, Poison> {
    let poison = |reason: String| Poison {
        payload: payload.to_owned(),
        reason,
        order: serde_json::from_str::<Traces>(payload).ok().map(|traces| (traces.pool, traces.order_id)),
    };
    let record: Record<Reservation> =
        serde_json::from_str(payload).map_err(|error| poison(format!("unreadable: {error}")))?;
    if record.v > VERSION {
        return Err(poison(format!("version {} is newer than this program", record.v)));
    }
    Ok(record.body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Epoch, ItemId, Price, PromoId, RequestId, Timestamp, UserId};

    fn reservation() -> Reservation {
        Reservation {
            order_id: OrderId(uuid::Uuid::from_u128(1)),
            request_id: RequestId(uuid::Uuid::from_u128(2)),
            user_id: UserId(3),
            pool: PoolId::Promo(PromoId(4)),
            item_id: ItemId(5),
            quantity: 1,
            price: Price(1999),
            payment_window_ms: 60_000,
            reserved_at: Timestamp::from_millis(1_795_341_600_007),
            epoch: Epoch::default(),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        assert_eq!(decode(&encode(&reservation())).unwrap(), reservation());
    }

    #[test]
    fn a_damaged_record_still_names_its_order() {
        let damaged = encode(&reservation()).replace("\"quantity\":1", "\"quantity\":-1");
        let poison = decode(&damaged).unwrap_err();
        assert_eq!(poison.order, Some((reservation().pool, reservation().order_id)));
    }

    #[test]
    fn a_newer_version_is_not_guessed_at() {
        let newer = encode(&reservation()).replace("\"v\":1", "\"v\":2");
        assert!(decode(&newer).unwrap_err().reason.contains("newer"));
    }

    #[test]
    fn noise_is_poison_without_an_order() {
        assert_eq!(decode("not json").unwrap_err().order, None);
    }
}
