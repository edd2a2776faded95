//! Settings as the bounds of each part.

use std::{sync::Arc, time::Duration};

use crate::{
    config::Settings,
    gateway::{conversation::GatewayLimits, server::ServerSettings},
    order_log::{kafka::KafkaSettings, relay::RelaySettings},
    order_writer::writer::WriterSettings,
    random,
    recovery::{RecoveryLimits, keeper::KeeperSettings},
    redis::RedisSettings,
    reservation::redis::RedisEngineSettings,
    results::redis::{Followed, RedisResultsSettings},
    service::{hot::redis::HotSettings, order::OrderLimits, promo::RoomLimits},
    store::mysql::MysqlSettings,
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

/// What ledgers are built with.
pub fn recovery_limits(settings: &Settings) -> RecoveryLimits {
    RecoveryLimits { rooms: room_limits(settings), request_memory_ms: settings.orders.request_memory_ms }
}

/// How ledgers are watched over.
pub fn keeper_settings(settings: &Settings) -> KeeperSettings {
    KeeperSettings {
        period: Duration::from_millis(settings.engines.recovery_interval_ms),
        leak_after_ms: settings.engines.leak_after_ms,
        node: random::uuid().simple().to_string(),
        limits: recovery_limits(settings),
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
        outcomes_awaited: orders.outcomes_awaited,
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

/// How the order writer works. `drain_at_stop`: nobody else would empty the log.
pub fn writer_settings(settings: &Settings, drain_at_stop: bool) -> WriterSettings {
    WriterSettings {
        batch_max: settings.orders.writer_batch,
        idle_wait: IDLE_WAIT,
        retry_min: RETRY_MIN,
        retry_max: Duration::from_millis(settings.orders.retry_max_ms),
        drain_at_stop,
    }
}

/// How the relay works.
pub fn relay_settings(settings: &Settings) -> RelaySettings {
    let after_ms = settings.orders.relay_after_ms;
    RelaySettings {
        period: Duration::from_millis(after_ms / 2 + 1),
        after_ms,
        logged_after_ms: settings.orders.relay_logged_after_ms,
        batch_max: RELAY_BATCH,
    }
}

/// How the server accepts.
pub fn server_settings(settings: &Settings) -> ServerSettings {
    ServerSettings {
        head_within: Duration::from_millis(settings.server.head_timeout_ms),
        max_connections: settings.server.max_connections,
        drain_within: Duration::from_millis(settings.server.drain_timeout_ms),
    }
}

/// How the database server is used.
pub fn mysql_settings(settings: &Settings) -> MysqlSettings {
    let engines = &settings.engines;
    MysqlSettings {
        max_connections: engines.database_connections,
        call_timeout: Duration::from_millis(engines.database_timeout_ms),
        ..MysqlSettings::default()
    }
}

/// How Redis is used.
pub fn redis_settings(settings: &Settings, url: &str) -> RedisSettings {
    let engines = &settings.engines;
    RedisSettings {
        prefix: engines.redis_prefix.clone(),
        ca_file: engines.redis_ca_file.clone(),
        connections: engines.redis_connections,
        command_timeout: Duration::from_millis(engines.redis_timeout_ms),
        start_wait: Duration::from_millis(engines.start_timeout_ms),
        ..RedisSettings::new(url)
    }
}

/// The bounds of ledgers and rooms in Redis.
pub fn redis_engine_settings(settings: &Settings, followed: Arc<Followed>) -> RedisEngineSettings {
    RedisEngineSettings {
        request_memory_ms: settings.orders.request_memory_ms,
        max_waiting: settings.engines.redis_queue,
        followed: Some(followed),
    }
}

/// The bounds of the bus in Redis.
pub fn redis_results_settings(settings: &Settings) -> RedisResultsSettings {
    RedisResultsSettings { capacity: settings.sockets.results_capacity, ..RedisResultsSettings::default() }
}

/// How items and promos are shared through Redis.
pub fn hot_settings(settings: &Settings) -> HotSettings {
    HotSettings { life: Duration::from_millis(settings.engines.hot_reads_ms), ..HotSettings::default() }
}

/// How Kafka is used.
pub fn kafka_settings(settings: &Settings, brokers: &str) -> KafkaSettings {
    let engines = &settings.engines;
    KafkaSettings {
        topic: engines.kafka_topic.clone(),
        dead_letter_topic: format!("{}.dead", engines.kafka_topic),
        group: engines.kafka_group.clone(),
        partitions: engines.kafka_partitions,
        replication: engines.kafka_replication,
        retention: Duration::from_millis(engines.kafka_retention_ms),
        delivery_timeout: Duration::from_millis(engines.kafka_timeout_ms),
        max_in_flight: settings.orders.max_orders_in_flight,
        start_within: Duration::from_millis(engines.start_timeout_ms),
        properties: engines.kafka_properties.clone(),
        ..KafkaSettings::new(brokers)
    }
}
