//! Identifiers. Users, items and promos count up from 1; orders and requests are UUIDs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! integer_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

integer_id!(
    /// A person with an account.
    UserId
);
integer_id!(
    /// A product with a list price and stock.
    ItemId
);
integer_id!(
    /// A flash sale of one item.
    PromoId
);

/// An order, from its reservation on. UUID version 7, so ids sort by the time of the order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct OrderId(pub Uuid);

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The client's own name for one attempt to order. The same id always gets the same answer.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct RequestId(pub Uuid);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which building of a pool's ledger something belongs to. Grows each time the ledger is built anew after a loss, so that
/// whatever still acts on the ledger that was lost is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The stock an order draws on: an item's own, or what was allotted to a promo.
///
/// Written `item:17` or `promo:3` wherever it leaves the process (rows, log keys, metrics).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolId {
    Item(ItemId),
    Promo(PromoId),
}

impl PoolId {
    /// The promo whose stock this is, if it is a promo's.
    pub fn promo(self) -> Option<PromoId> {
        match self {
            Self::Item(_) => None,
            Self::Promo(id) => Some(id),
        }
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Item(id) => write!(f, "item:{id}"),
            Self::Promo(id) => write!(f, "promo:{id}"),
        }
    }
}

/// The text is not of the form `item:N` or `promo:N`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a pool: expected item:N or promo:N")]
pub struct NotAPool(String);

impl FromStr for PoolId {
    type Err = NotAPool;

    fn from_str(text: &str) -> Result<Self, NotAPool> {
        let not_a_pool = || NotAPool(text.to_owned());
        let (kind, number) = text.split_once(':').ok_or_else(not_a_pool)?;
        let number = number.parse().map_err(|_| not_a_pool())?;
        match kind {
            "item" => Ok(Self::Item(ItemId(number))),
            "promo" => Ok(Self::Promo(PromoId(number))),
            _ => Err(not_a_pool()),
        }
    }
}

impl Serialize for PoolId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PoolId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
