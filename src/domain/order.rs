//! Orders, and the closed set of reasons an order may be refused or rejected for.

use serde::{Deserialize, Serialize};

use super::{ItemId, OrderId, Price, PromoId, RequestId, Timestamp, UserId};

/// An order as the database has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub request_id: RequestId,
    pub user_id: UserId,
    pub item_id: ItemId,
    pub promo_id: Option<PromoId>,
    pub quantity: u32,
    /// Of one unit.
    pub price: Price,
    pub status: OrderStatus,
    pub reason: Option<Reason>,
    pub created_at: Timestamp,
    pub pay_before: Option<Timestamp>,
    pub paid_at: Option<Timestamp>,
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Accepted, not yet written: its outcome will follow.
    Pending,
    /// Posted; to be paid inside the payment window.
    AwaitingPayment,
    Paid,
    Cancelled,
    Expired,
    /// The writer refused it; nothing was sold.
    Rejected,
}

impl OrderStatus {
    /// The stored word, the same as on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::AwaitingPayment => "awaiting_payment",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
        }
    }

    /// The status of a stored word, or `None` for a word no version has written.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Pending, Self::AwaitingPayment, Self::Paid, Self::Cancelled, Self::Expired, Self::Rejected]
            .into_iter()
            .find(|status| status.as_str() == word)
    }
}

/// Why an order was refused (nothing was taken) or rejected (everything was given back).
/// Declared in the order in which the checks are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The stock is being recovered: the same may work in a moment.
    NotReady,
    NotStarted,
    Paused,
    Ended,
    /// The shopper holds no live pass.
    NoPass,
    /// The shopper's live orders would exceed the promo's limit.
    LimitReached,
    SoldOut,
    RateLimited,
    BadRequest,
    /// A part of the system does not answer: the same may work in a moment.
    Unavailable,
}

impl Reason {
    /// Every reason, in the order of the checks.
    pub const ALL: [Self; 10] = [
        Self::NotReady,
        Self::NotStarted,
        Self::Paused,
        Self::Ended,
        Self::NoPass,
        Self::LimitReached,
        Self::SoldOut,
        Self::RateLimited,
        Self::BadRequest,
        Self::Unavailable,
    ];

    /// The stored word, the same as on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotReady => "not_ready",
            Self::NotStarted => "not_started",
            Self::Paused => "paused",
            Self::Ended => "ended",
            Self::NoPass => "no_pass",
            Self::LimitReached => "limit_reached",
            Self::SoldOut => "sold_out",
            Self::RateLimited => "rate_limited",
            Self::BadRequest => "bad_request",
            Self::Unavailable => "unavailable",
        }
    }

    /// The reason of a stored word, or `None` for a word no version has written.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Whether the very same request may succeed a moment later without anything else happening.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::NotReady | Self::RateLimited | Self::Unavailable)
    }
}

/// The writer's verdict on a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The order is in the database and waits for its payment.
    Posted { pay_before: Timestamp },
    /// The order did not become one; its units go back.
    Void { reason: Reason },
}
