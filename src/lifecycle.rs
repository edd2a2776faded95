//! How the process ends: the signals it obeys, and the order in which its parts stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Completes when the process is asked to stop (SIGTERM or SIGINT).
pub async fn asked_to_stop() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}

/// The three moments of a shutdown, in the order of the pipeline.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// No new connections, sockets or requests.
    pub door: CancellationToken,
    /// Background work stops; the order writer goes on until the log is empty.
    pub work: CancellationToken,
    /// Time is up: whatever still runs stops where it is. Nothing is lost by it.
    pub now: CancellationToken,
}
