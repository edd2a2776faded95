//! Logs and metrics: set up once, at the start of the process.

use std::io::IsTerminal;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Bounds of the time histograms, in seconds.
const SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Bounds of the size histograms, in records.
const RECORDS: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0];

/// The log filter is not one.
#[derive(Debug, thiserror::Error)]
#[error(
    "--log (PANICBUY_LOG) is {value:?}: expected a level such as info, or directives such as info,panicbuy=debug ({problem})"
)]
pub struct BadFilter {
    value: String,
    problem: String,
}

/// Sends log lines to standard error.
pub fn start_logging(filter: &str, format: LogFormat) -> Result<(), BadFilter> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|problem| BadFilter { value: filter.to_owned(), problem: problem.to_string() })?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Starts collecting metrics for this process; to be called once.
pub fn start_metrics() -> anyhow::Result<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_records".to_owned()), &RECORDS)?
        .install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    describe_gauge!("panicbuy_sockets", "Open sockets");
    describe_counter!("panicbuy_closed_sockets_total", "Sockets the server closed, by close code");
    describe_gauge!("panicbuy_waiting_shoppers", "Shoppers waiting to be called, by promo");
    describe_gauge!("panicbuy_active_passes", "Live passes, by promo");
    describe_counter!("panicbuy_passes_total", "Passes given and lapsed");
    describe_counter!(
        "panicbuy_orders_total",
        "Answers to orders: accepted, unconfirmed, or the reason of the refusal"
    );
    describe_counter!("panicbuy_relayed_orders_total", "Reservations the relay logged again");
    describe_histogram!(
        "panicbuy_log_append_seconds",
        Unit::Seconds,
        "From an order's append to the log's word that it is durable"
    );
    describe_histogram!(
        "panicbuy_log_group_records",
        "Orders made durable by one commit of the embedded log"
    );
    describe_gauge!(
        "panicbuy_log_lag_records",
        "Records in the whole order log that are not settled; every writer tells the whole, so take the maximum"
    );
    describe_counter!(
        "panicbuy_log_reader_restarts_total",
        "Times a writer joined its group anew because its reader had stalled or failed"
    );
    describe_histogram!("panicbuy_batch_records", "Records in one batch of the order writer");
    describe_histogram!(
        "panicbuy_batch_seconds",
        Unit::Seconds,
        "From a batch's first statement to its settled ledger"
    );
    describe_counter!("panicbuy_batch_failures_total", "Batches that failed and were tried again");
    describe_histogram!(
        "panicbuy_settle_seconds",
        Unit::Seconds,
        "From the reservation to its verdict in the ledger"
    );
    describe_counter!("panicbuy_outcomes_total", "Outcomes, by status");
    describe_counter!("panicbuy_closed_orders_total", "Posted orders that were paid, cancelled or expired");
    describe_counter!("panicbuy_dead_letters_total", "Records that can never succeed");
    describe_counter!("panicbuy_promos_published_total", "Promos published");
    describe_counter!("panicbuy_log_ins_total", "Log-ins, by result");
    describe_counter!(
        "panicbuy_units_returned_total",
        "Unsold units of ended promos that went back to their items"
    );
    describe_counter!("panicbuy_panics_total", "Requests that panicked");
    describe_counter!("panicbuy_limits_hit_total", "Requests turned away, by limit");
    describe_counter!(
        "panicbuy_missed_events_total",
        "Times a gateway fell behind the results and read state instead"
    );
}
