//! The frames of the subprotocol `panicbuy.v1`: one JSON object each, told apart by `type`.
//!
//! Pure: parses and serialises. Every frame can be read and written, so that clients in Rust and the tests share the types.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    domain::{
        ItemId, OrderId, OrderStatus, Phase, Price, PromoId, PromoStatus, Reason, RequestId, Standing,
        StandingReason, Timestamp, UserId,
    },
    results::port::Outcome,
    service::queue::RoomNow,
};

/// The WebSocket subprotocol.
pub const SUBPROTOCOL: &str = "panicbuy.v1";

/// The longest frame a client may send, in bytes.
pub const MAX_CLIENT_FRAME: usize = 4096;

/// What a client may say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    Hello {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
    },
    Watch {
        promo_id: PromoId,
    },
    Unwatch {
        promo_id: PromoId,
    },
    Join {
        promo_id: PromoId,
    },
    Leave {
        promo_id: PromoId,
    },
    Order(OrderFrame),
    Ping {
        #[serde(default, skip_serializing_if = "Value::is_null")]
        nonce: Value,
    },
}

/// An order: for a promo or for an item, not for both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderFrame {
    pub request_id: RequestId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promo_id: Option<PromoId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_id: Option<ItemId>,
    pub quantity: u32,
}

/// Why a text frame is not a [`ClientFrame`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Not a JSON object: the protocol is broken.
    NotAnObject,
    /// An object, but not a frame of this protocol: the client is told, and nothing else happens.
    NotAFrame { code: ErrorCode, message: String, reference: Option<String> },
    /// An order that names itself but cannot be placed: it is refused.
    BadOrder { request_id: RequestId },
}

impl ClientFrame {
    /// Reads a text frame.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        // Most frames are well-formed: only the others are looked at twice.
        if let Ok(frame) = serde_json::from_str(text) {
            return Ok(frame);
        }
        let Ok(Value::Object(object)) = serde_json::from_str(text) else {
            return Err(Unreadable::NotAnObject);
        };
        let Some(kind) = object.get("type").and_then(Value::as_str) else {
            return Err(Unreadable::NotAFrame {
                code: ErrorCode::BadRequest,
                message: "a frame has a `type`".to_owned(),
                reference: None,
            });
        };
        let request_id = object.get("request_id").cloned();
        if kind == "order"
            && let Some(request_id) = request_id.and_then(|id| serde_json::from_value(id).ok())
        {
            return Err(Unreadable::BadOrder { request_id });
        }
        let known = ["hello", "watch", "unwatch", "join", "leave", "order", "ping"].contains(&kind);
        let (code, message) = if known {
            (
                ErrorCode::BadRequest,
                format!("a field of this {kind:?} frame is missing or has the wrong type"),
            )
        } else {
            (ErrorCode::UnknownType, "there is no frame of this type".to_owned())
        };
        Err(Unreadable::NotAFrame { code, message, reference: Some(kind.chars().take(40).collect()) })
    }
}

/// What the server may say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    Welcome(WelcomeFrame),
    State(StateFrame),
    Queue(QueueFrame),
    Stock(StockFrame),
    Accepted {
        request_id: RequestId,
        order_id: OrderId,
    },
    Refused {
        request_id: RequestId,
        reason: Reason,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    Outcome(OutcomeFrame),
    Error {
        code: ErrorCode,
        message: String,
        temporary: bool,
        #[serde(default, rename = "ref", skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    Bye {
        reason: ByeReason,
        reconnect_after_ms: u64,
    },
    Pong {
        nonce: Value,
    },
}

/// The first frame from the server: everything this shopper has anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WelcomeFrame {
    pub session_id: Uuid,
    pub user_id: Option<UserId>,
    pub server_time: Timestamp,
    pub heartbeat_ms: u64,
    pub states: Vec<StateFrame>,
}

/// Where the shopper stands in one promo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateFrame {
    pub promo_id: PromoId,
    pub phase: Phase,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ahead: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pass_expires_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<OrderStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<StandingReason>,
}

impl From<Standing> for StateFrame {
    fn from(standing: Standing) -> Self {
        let Standing { promo_id, phase, number, ahead, pass_expires_at, order_id, status, reason, .. } =
            standing;
        Self { promo_id, phase, number, ahead, pass_expires_at, order_id, status, reason }
    }
}

/// What everybody may know of a promo's room; the same frame for all who watch it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueFrame {
    pub promo_id: PromoId,
    pub status: PromoStatus,
    pub starts_at: Timestamp,
    pub lobby: u64,
    pub head: u64,
    pub waiting: u64,
    pub active: u64,
    pub rate_per_s: u32,
}

impl From<&RoomNow> for QueueFrame {
    fn from(room: &RoomNow) -> Self {
        Self {
            promo_id: room.promo.id,
            status: room.status,
            starts_at: room.promo.starts_at,
            lobby: room.view.lobby,
            head: room.view.head,
            waiting: room.view.waiting,
            active: room.view.active,
            rate_per_s: room.view.rate_per_s,
        }
    }
}

/// Units left for sale.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockFrame {
    pub promo_id: PromoId,
    pub available: u32,
    pub version: u64,
}

impl From<&RoomNow> for StockFrame {
    fn from(room: &RoomNow) -> Self {
        Self { promo_id: room.promo.id, available: room.view.available, version: room.view.version }
    }
}

/// The terminal outcome of an accepted order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeFrame {
    pub order_id: OrderId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promo_id: Option<PromoId>,
    pub status: OrderStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_minor: Option<Price>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay_before: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl From<&Outcome> for OutcomeFrame {
    fn from(outcome: &Outcome) -> Self {
        Self {
            order_id: outcome.order_id,
            promo_id: outcome.promo_id,
            status: outcome.status,
            price_minor: outcome.price,
            pay_before: outcome.pay_before,
            reason: outcome.reason,
        }
    }
}

/// Why a frame did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// A field is missing or wrong.
    BadRequest,
    /// There is no frame of this type.
    UnknownType,
    /// There is no such promo.
    NotFound,
    /// A visitor may only watch.
    NotAuthenticated,
    /// The socket watches as many promos as it may.
    TooManyWatched,
    /// The waiting room holds as many places as it may; one may become free.
    RoomFull,
    /// A part of the system does not answer; the same may work in a moment.
    Unavailable,
}

impl ErrorCode {
    /// Whether the same frame may work later.
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::RoomFull | Self::Unavailable)
    }
}

/// Why the server says goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// The server shuts down.
    GoingAway,
    /// Too many frames.
    RateLimited,
    /// A part of the system does not answer.
    Unavailable,
}

impl ServerFrame {
    /// The frame as text.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("frames have no map with other keys than strings")
    }

    /// An error about a frame; `reference` names it.
    pub fn error(code: ErrorCode, message: impl Into<String>, reference: Option<String>) -> Self {
        Self::Error { code, message: message.into(), temporary: code.is_temporary(), reference }
    }
}
