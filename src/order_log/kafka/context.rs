//! What librdkafka tells by itself: log lines and errors, as log lines of ours.

use rdkafka::{
    ClientContext,
    config::RDKafkaLogLevel,
    consumer::ConsumerContext,
    error::{KafkaError, RDKafkaErrorCode},
};

/// Passes on what a client tells.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lines;

impl ClientContext for Lines {
    fn log(&self, level: RDKafkaLogLevel, fac: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(code = fac, message, "Kafka's client warns"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(code = fac, message, "Kafka's client tells");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        use RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure};
        // Told at every attempt to connect, many times a second; that the log is not well is told elsewhere.
        if let KafkaError::Global(AllBrokersDown | BrokerTransportFailure) = error {
            tracing::debug!(%error, reason, "Kafka's brokers do not answer");
            return;
        }
        tracing::warn!(%error, reason, "Kafka's client has met an error");
    }
}

impl ConsumerContext for Lines {}
