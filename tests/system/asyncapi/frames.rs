//! Frames of every kind and with every value, built from the code's types. The `match`es have no wildcard:
//! a new variant does not compile until it has been added here.

use panicbuy::{
    domain::{
        Gone, ItemId, OrderId, OrderStatus, Phase, Price, PromoId, PromoStatus, Reason, RequestId,
        StandingReason, Timestamp, UserId,
    },
    gateway::protocol::{
        ByeReason, ClientFrame, ErrorCode, OrderFrame, OutcomeFrame, QueueFrame, ServerFrame, StateFrame,
        StockFrame, WelcomeFrame,
    },
};
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// An array of values, and a `match` over the same ones that must be exhaustive.
macro_rules! every {
    ($(#[$doc:meta])* $name:ident: [$kind:ident; $count:literal] = $($variant:ident),+ $(,)?) => {
        $(#[$doc])*
        pub const $name: [$kind; $count] = {
            const fn _listed(value: $kind) {
                match value {
                    $($kind::$variant => (),)+
                }
            }
            [$($kind::$variant),+]
        };
    };
}

every!(PHASES: [Phase; 7] = None, Lobby, Queued, Admitted, Pending, Confirmed, Rejected);
every!(ORDER_STATUSES: [OrderStatus; 6] = Pending, AwaitingPayment, Paid, Cancelled, Expired, Rejected);
every!(PROMO_STATUSES: [PromoStatus; 5] = Draft, Scheduled, Ongoing, Paused, Ended);
every!(GONE: [Gone; 1] = PassExpired);
every!(BYE_REASONS: [ByeReason; 3] = GoingAway, RateLimited, Unavailable);
every!(ERROR_CODES: [ErrorCode; 7] =
    BadRequest, UnknownType, NotFound, NotAuthenticated, TooManyWatched, RoomFull, Unavailable);
every!(REASONS: [Reason; 10] =
    NotReady, NotStarted, Paused, Ended, NoPass, LimitReached, SoldOut, RateLimited, BadRequest, Unavailable);

/// A value as the wire has it.
pub fn word(value: &impl Serialize) -> String {
    json!(value).as_str().expect("enumerations are words").to_owned()
}

const PROMO: PromoId = PromoId(3);
const REQUEST: RequestId = RequestId(Uuid::from_u128(0x0f8f_ad5b_d9cb_469f_a165_7086_7728_950e));
const ORDER: OrderId = OrderId(Uuid::from_u128(0x019a_c4c1_7a10_7b3e_9c55_2f0e_8d1a_6b42));
const NOW: Timestamp = Timestamp::from_millis(1_795_773_600_000);

/// Every frame a client may send, with and without each optional field.
pub fn client_frames() -> Vec<ClientFrame> {
    let order = OrderFrame { request_id: REQUEST, promo_id: Some(PROMO), item_id: None, quantity: 1 };
    let frames = vec![
        ClientFrame::Hello { token: None },
        ClientFrame::Hello { token: Some("eyJhbGciOiJIUzI1NiJ9.e30.c2ln".to_owned()) },
        ClientFrame::Watch { promo_id: PROMO },
        ClientFrame::Unwatch { promo_id: PROMO },
        ClientFrame::Join { promo_id: PROMO },
        ClientFrame::Leave { promo_id: PROMO },
        ClientFrame::Order(order),
        ClientFrame::Order(OrderFrame { promo_id: None, item_id: Some(ItemId(17)), ..order }),
        ClientFrame::Ping { nonce: Value::Null },
        ClientFrame::Ping { nonce: json!({ "tab": 2 }) },
    ];
    let mut seen = [false; 7];
    for frame in &frames {
        seen[match frame {
            ClientFrame::Hello { .. } => 0,
            ClientFrame::Watch { .. } => 1,
            ClientFrame::Unwatch { .. } => 2,
            ClientFrame::Join { .. } => 3,
            ClientFrame::Leave { .. } => 4,
            ClientFrame::Order(_) => 5,
            ClientFrame::Ping { .. } => 6,
        }] = true;
    }
    assert_eq!(seen, [true; 7], "a frame of each kind");
    frames
}

/// Every frame the server may send, with every value of every enumeration, with and without each optional field.
pub fn server_frames() -> Vec<ServerFrame> {
    let mut frames = vec![
        ServerFrame::Accepted { request_id: REQUEST, order_id: ORDER },
        ServerFrame::Pong { nonce: Value::Null },
        ServerFrame::Pong { nonce: json!([1, "two"]) },
    ];
    frames.extend(states().into_iter().map(ServerFrame::State));
    frames.extend([None, Some(UserId(41))].map(|user_id| {
        let states = if user_id.is_some() { states() } else { Vec::new() };
        let session_id = Uuid::from_u128(0x6fa4_59ea_ee8a_4ca4_894e_db77_e160_355e);
        ServerFrame::Welcome(WelcomeFrame {
            session_id,
            user_id,
            server_time: NOW,
            heartbeat_ms: 20_000,
            states,
        })
    }));
    frames.extend(PROMO_STATUSES.map(|status| {
        let (promo_id, starts_at) = (PROMO, NOW);
        let (lobby, head, waiting, active, rate_per_s) = (48_390, 500, 49_102, 347, 200);
        ServerFrame::Queue(QueueFrame {
            promo_id,
            status,
            starts_at,
            lobby,
            head,
            waiting,
            active,
            rate_per_s,
        })
    }));
    frames.extend(
        [0, u32::MAX]
            .map(|available| ServerFrame::Stock(StockFrame { promo_id: PROMO, available, version: 5230 })),
    );
    frames.extend(REASONS.into_iter().flat_map(|reason| {
        [None, Some(1000)].map(|retry_after_ms| ServerFrame::Refused {
            request_id: REQUEST,
            reason,
            retry_after_ms,
        })
    }));
    frames.extend(outcomes().into_iter().map(ServerFrame::Outcome));
    frames.extend(ERROR_CODES.into_iter().flat_map(|code| {
        [None, Some("join".to_owned())].map(|reference| ServerFrame::error(code, "a message", reference))
    }));
    frames.extend(BYE_REASONS.map(|reason| ServerFrame::Bye { reason, reconnect_after_ms: 0 }));
    let mut seen = [false; 10];
    for frame in &frames {
        seen[match frame {
            ServerFrame::Welcome(_) => 0,
            ServerFrame::State(_) => 1,
            ServerFrame::Queue(_) => 2,
            ServerFrame::Stock(_) => 3,
            ServerFrame::Accepted { .. } => 4,
            ServerFrame::Refused { .. } => 5,
            ServerFrame::Outcome(_) => 6,
            ServerFrame::Error { .. } => 7,
            ServerFrame::Bye { .. } => 8,
            ServerFrame::Pong { .. } => 9,
        }] = true;
    }
    assert_eq!(seen, [true; 10], "a frame of each kind");
    frames
}

fn states() -> Vec<StateFrame> {
    let bare = StateFrame {
        promo_id: PROMO,
        phase: Phase::None,
        number: None,
        ahead: None,
        pass_expires_at: None,
        order_id: None,
        status: None,
        reason: None,
    };
    let reasons = REASONS.map(StandingReason::Because).into_iter().chain(GONE.map(StandingReason::Gone));
    let mut states: Vec<StateFrame> = PHASES.map(|phase| StateFrame { phase, ..bare.clone() }).into();
    states.extend(ORDER_STATUSES.map(|status| StateFrame {
        order_id: Some(ORDER),
        status: Some(status),
        ..bare.clone()
    }));
    states.extend(reasons.map(|reason| StateFrame { reason: Some(reason), ..bare.clone() }));
    let number = Some(2417);
    states.push(StateFrame { number, ahead: Some(0), pass_expires_at: Some(NOW), ..bare });
    states
}

fn outcomes() -> Vec<OutcomeFrame> {
    let bare = OutcomeFrame {
        order_id: ORDER,
        promo_id: None,
        status: OrderStatus::Rejected,
        price_minor: None,
        pay_before: None,
        reason: None,
    };
    let mut outcomes: Vec<OutcomeFrame> =
        ORDER_STATUSES.map(|status| OutcomeFrame { status, ..bare.clone() }).into();
    outcomes.extend(REASONS.map(|reason| OutcomeFrame { reason: Some(reason), ..bare.clone() }));
    outcomes.extend([Price(0), Price::MAX].map(|price| {
        let (promo_id, price_minor, pay_before) = (Some(PROMO), Some(price), Some(NOW));
        OutcomeFrame {
            promo_id,
            status: OrderStatus::AwaitingPayment,
            price_minor,
            pay_before,
            ..bare.clone()
        }
    }));
    outcomes
}
