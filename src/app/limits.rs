//! Settings as the bounds of each part.

use std::time::Duration;

use crate::{
    config::Settings,
    gateway::{conversation::GatewayLimits, server::ServerSettings},
    order_log::relay::RelaySettings,
    order_writer::writer::WriterSettings,
    service::{order::OrderLimits, promo::RoomLimits},
};

/// Reservations the relay logs again in one look, at most.
const RELAY_BATCH: usize = 1000;

/// How long the order writer's look at an empty log waits.
const IDLE_WAIT: Duration = Duration::from_millis(500);

/// The order writer's first pause after a failure.
const RETRY_MIN: Duration = Duration::from_millis(20);

/// The bounds of every waiting room.
pub fn room_limits(settings: &Settings) -> RoomLimits {
    RoomLimits {
        grace_ms: settings.admission.grace_ms,
        max_unsettled: settings.admission.max_unsettled,
        max_places: settings.admission.max_places,
    }
}

/// The bounds of the order path.
pub fn order_limits(settings: &Settings) -> OrderLimits {
    let orders = &settings.orders;
    OrderLimits {
        per_user_per_s: orders.orders_per_user_per_s,
        max_quantity: orders.max_order_quantity,
        max_in_flight: orders.max_orders_in_flight,
        confirm_within: Duration::from_millis(orders.confirm_timeout_ms),
        refusals_remembered: orders.refusals_remembered,
        refusals_remembered_for: Duration::from_millis(orders.refusal_memory_ms),
        list_price_payment_window_ms: orders.payment_window_ms,
    }
}

/// The bounds on every socket.
pub fn gateway_limits(settings: &Settings) -> GatewayLimits {
    let sockets = &settings.sockets;
    GatewayLimits {
        heartbeat_ms: sockets.heartbeat_ms,
        hello_within_ms: sockets.hello_timeout_ms,
        frames_per_s: sockets.frames_per_socket_per_s,
        max_watched: sockets.max_watched_promos,
        write_within_ms: sockets.write_timeout_ms,
        close_within_ms: sockets.close_timeout_ms,
        reconnect_spread_ms: sockets.reconnect_spread_ms,
        max_sockets: sockets.max_sockets,
        allowed_origins: settings.server.allowed_origins.clone(),
        trust_forwarded_for: settings.server.trust_forwarded_for,
    }
}

/// How the order writer works.
pub fn writer_settings(settings: &Settings) -> WriterSettings {
    WriterSettings {
        batch_max: settings.orders.writer_batch,
        idle_wait: IDLE_WAIT,
        retry_min: RETRY_MIN,
        retry_max: Duration::from_millis(settings.orders.retry_max_ms),
    }
}

/// How the relay works.
pub fn relay_settings(settings: &Settings) -> RelaySettings {
    let after_ms = settings.orders.relay_after_ms;
    RelaySettings { period: Duration::from_millis(after_ms / 2 + 1), after_ms, batch_max: RELAY_BATCH }
}

/// How the server accepts.
pub fn server_settings(settings: &Settings) -> ServerSettings {
    ServerSettings {
        head_within: Duration::from_millis(settings.server.head_timeout_ms),
        max_connections: settings.server.max_connections,
        drain_within: Duration::from_millis(settings.server.drain_timeout_ms),
    }
}
