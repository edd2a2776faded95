//! News as it travels: the form in which the engines' scripts write it, and nothing else.
//!
//! One script call writes one entry, a JSON array: `["<pool id>", epoch, n, "<by>", [event, …]]`.
//! `n` counts the pool's entries within the epoch, from 1. `by` is the node whose gateway has told its socket already, or empty.
//! The entry is published on `<prefix>news`, and kept as field `e` of the stream `<prefix>{<pool id>}:events` under the id `epoch-n`.
//!
//! An event is an array too, its kind first. Instants are milliseconds since the Unix epoch, words are those of the contract, and
//! whole numbers may be written as strings:
//!
//! - `["s", user, phase, number|null, ahead|null, pass_expires_at|null, order_id|null, status|null, reason|null]`:
//!   the shopper stands differently in this pool's promo
//! - `["o", user, order_id, status, price|null, pay_before|null, reason|null]`: an order's outcome
//! - `["a", user, request_id, order_id]`: accepted, said late
//! - `["r"]`: everybody in the room stands differently
//! - `["x"]`: the ledger was built anew, so everything about the pool is to be read again

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error as _, SeqAccess, Visitor},
};

use super::{
    super::port::{Event, Outcome},
    position::Position,
};
use crate::domain::{
    OrderId, OrderStatus, Phase, PoolId, Price, Reason, RequestId, Standing, Timestamp, UserId,
};

/// The text is not an entry that this version can read.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    #[error(transparent)]
    Form(#[from] serde_json::Error),
    #[error("the item's pool {0} has no waiting room")]
    NoRoom(PoolId),
}

/// What one script call has to tell.
#[derive(Debug, PartialEq)]
pub struct Entry {
    pub pool: PoolId,
    pub epoch: u64,
    pub n: u64,
    pub by: String,
    pub events: Vec<Event>,
    /// The ledger was built anew: whatever was known of the pool is to be read again.
    pub rebuilt: bool,
}

impl Entry {
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, n: self.n }
    }

    pub fn parse(text: &[u8]) -> Result<Self, WireError> {
        let (pool, epoch, n, by, told) =
            serde_json::from_slice::<(PoolId, Whole, Whole, String, Vec<Told>)>(text)?;
        let rebuilt = told.iter().any(|told| matches!(told, Told::Rebuilt));
        let (epoch, n) = (epoch.unsigned::<serde_json::Error>()?, n.unsigned::<serde_json::Error>()?);
        let events = told.into_iter().filter_map(|told| told.event(pool, epoch).transpose());
        let events = events.collect::<Result<_, _>>()?;
        Ok(Self { pool, epoch, n, by, events, rebuilt })
    }
}

/// One event, without the pool that its entry names.
enum Told {
    Standing(Box<Standing>),
    Outcome(Box<Outcome>),
    Accepted { user_id: UserId, request_id: RequestId, order_id: OrderId },
    RoomChanged,
    Rebuilt,
}

impl Told {
    /// The event, now that the pool is known; `None` for one that no socket wants to hear.
    fn event(self, pool: PoolId, epoch: u64) -> Result<Option<Event>, WireError> {
        let promo = pool.promo().ok_or(WireError::NoRoom(pool));
        Ok(match self {
            Self::Standing(standing) => Some(Event::Standing(Standing { promo_id: promo?, ..*standing })),
            Self::Outcome(outcome) => Some(Event::Outcome(Outcome { promo_id: pool.promo(), ..*outcome })),
            Self::Accepted { user_id, request_id, order_id } => {
                Some(Event::Accepted { user_id, request_id, order_id })
            }
            Self::RoomChanged => Some(Event::RoomChanged(promo?)),
            // The first ledger of a pool replaces none.
            Self::Rebuilt if epoch == 0 => pool.promo().map(Event::RoomChanged),
            Self::Rebuilt => pool.promo().map(Event::RoomRebuilt),
        })
    }
}

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Kinds;

        impl<'de> Visitor<'de> for Kinds {
            type Value = Told;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an event")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Told, A::Error> {
                let kind: String = field(&mut seq)?;
                match kind.as_str() {
                    "s" => standing(&mut seq),
                    "o" => outcome(&mut seq),
                    "a" => Ok(Told::Accepted {
                        user_id: UserId(field::<_, Whole>(&mut seq)?.0),
                        request_id: field(&mut seq)?,
                        order_id: field(&mut seq)?,
                    }),
                    "r" => Ok(Told::RoomChanged),
                    "x" => Ok(Told::Rebuilt),
                    other => Err(A::Error::custom(format_args!("no kind of event: {other:?}"))),
                }
            }
        }

        deserializer.deserialize_seq(Kinds)
    }
}

fn standing<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<Told, A::Error> {
    let user_id = UserId(field::<_, Whole>(seq)?.0);
    let phase: Phase = field(seq)?;
    Ok(Told::Standing(Box::new(Standing {
        phase,
        number: count(field(seq)?)?,
        ahead: count(field(seq)?)?,
        pass_expires_at: instant(field(seq)?),
        order_id: field(seq)?,
        status: field(seq)?,
        reason: field(seq)?,
        // The pool's own, which the entry names.
        ..Standing::none(user_id, crate::domain::PromoId(0))
    })))
}

fn outcome<'de, A: SeqAccess<'de>>(seq: &mut A) -> Result<Told, A::Error> {
    Ok(Told::Outcome(Box::new(Outcome {
        user_id: UserId(field::<_, Whole>(seq)?.0),
        order_id: field(seq)?,
        promo_id: None,
        status: field::<_, OrderStatus>(seq)?,
        price: field::<_, Option<Whole>>(seq)?.map(|price| Price(price.0)),
        pay_before: instant(field(seq)?),
        reason: field::<_, Option<Reason>>(seq)?,
    })))
}

/// The next field, which must be there.
fn field<'de, A: SeqAccess<'de>, T: DeserializeOwned>(seq: &mut A) -> Result<T, A::Error> {
    seq.next_element()?.ok_or_else(|| A::Error::custom("an event is too short"))
}

fn instant(millis: Option<Whole>) -> Option<Timestamp> {
    millis.map(|millis| Timestamp::from_millis(millis.0))
}

fn count<E: serde::de::Error>(count: Option<Whole>) -> Result<Option<u64>, E> {
    count.map(Whole::unsigned).transpose()
}

/// A whole number, or one in a string: Lua keeps large ones exact only as text.
#[derive(Clone, Copy)]
struct Whole(i64);

impl Whole {
    fn unsigned<E: serde::de::Error>(self) -> Result<u64, E> {
        u64::try_from(self.0).map_err(|_| E::custom("a count is negative"))
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(i64),
            Text(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(number) => Ok(Self(number)),
            Form::Text(text) => text.parse().map(Self).map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Gone, PromoId, StandingReason};

    #[test]
    fn an_entry_of_every_kind_is_read() {
        let (order, request) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let text = format!(
            r#"["promo:3",2,"5","node",[
                ["s","41","queued",12,"4",null,null,null,null],
                ["s",42,"none",null,null,null,"{order}","rejected","pass_expired"],
                ["o",41,"{order}","awaiting_payment",1999,1795341600007,null],
                ["a","41","{request}","{order}"],
                ["r"],["x"]]]"#
        );
        let entry = Entry::parse(text.as_bytes()).unwrap();
        assert_eq!((entry.epoch, entry.n, entry.by.as_str(), entry.rebuilt), (2, 5, "node", true));
        let none = |user| Standing::none(UserId(user), PromoId(3));
        let (order_id, request_id) = (OrderId(order), RequestId(request));
        let expected = [
            Event::Standing(Standing { phase: Phase::Queued, number: Some(12), ahead: Some(4), ..none(41) }),
            Event::Standing(Standing {
                order_id: Some(order_id),
                status: Some(OrderStatus::Rejected),
                reason: Some(StandingReason::Gone(Gone::PassExpired)),
                ..none(42)
            }),
            Event::Outcome(Outcome {
                user_id: UserId(41),
                order_id,
                promo_id: Some(PromoId(3)),
                status: OrderStatus::AwaitingPayment,
                price: Some(Price(1999)),
                pay_before: Some(Timestamp::from_millis(1_795_341_600_007)),
                reason: None,
            }),
            Event::Accepted { user_id: UserId(41), request_id, order_id },
            Event::RoomChanged(PromoId(3)),
            Event::RoomRebuilt(PromoId(3)),
        ];
        assert_eq!(entry.events, expected);
    }

    #[test]
    fn an_entry_that_makes_no_sense_is_refused() {
        for text in [
            "",
            r#"["promo:3",1,1,""]"#,
            r#"["shelf:3",1,1,"",[]]"#,
            r#"["promo:3",1,-1,"",[]]"#,
            r#"["promo:3",1,1,"",[["q"]]]"#,
            r#"["promo:3",1,1,"",[["a",1]]]"#,
            r#"["item:3",1,1,"",[["r"]]]"#,
        ] {
            assert!(Entry::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
