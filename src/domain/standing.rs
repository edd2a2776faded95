//! Where a shopper stands in a promo: the one thing a `state` frame says.

use serde::{Deserialize, Serialize};

use super::{OrderId, OrderStatus, PromoId, Reason, Timestamp, UserId};

/// A shopper's position on the way from the lobby to a confirmed order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No place. A past order, if any, is named by `order_id` and `status`.
    None,
    /// Joined before the opening; no number yet.
    Lobby,
    /// Has a number and waits to be called.
    Queued,
    /// Holds a live pass.
    Admitted,
    /// An order was accepted and waits for its outcome.
    Pending,
    /// The order is posted: to be paid, or paid.
    Confirmed,
    /// The order was rejected; everything was given back.
    Rejected,
}

/// Everything one shopper is told about one promo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub user_id: UserId,
    pub promo_id: PromoId,
    pub phase: Phase,
    /// The place's number, from 1; never changes.
    pub number: Option<u64>,
    /// Places still to be called before this one.
    pub ahead: Option<u64>,
    pub pass_expires_at: Option<Timestamp>,
    pub order_id: Option<OrderId>,
    pub status: Option<OrderStatus>,
    pub reason: Option<StandingReason>,
}

/// Why a shopper stands where they stand, when the phase alone does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", untagged)]
pub enum StandingReason {
    /// The order was rejected for this, or the promo is over ([`Reason::Ended`]).
    Because(Reason),
    /// The place is gone for this.
    Gone(Gone),
}

/// Why a place is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// The pass lapsed without an order.
    PassExpired,
}

impl Standing {
    /// A shopper without place or order.
    pub fn none(user_id: UserId, promo_id: PromoId) -> Self {
        Self {
            user_id,
            promo_id,
            phase: Phase::None,
            number: None,
            ahead: None,
            pass_expires_at: None,
            order_id: None,
            status: None,
            reason: None,
        }
    }
}
