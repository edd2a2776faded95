//! Expires unpaid orders on time, whether or not anybody asks.

use std::{sync::Arc, time::Duration};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{clock, store::port::OrderStore};

/// Orders expired in one transaction, at most.
const BATCH_MAX: u32 = 500;

/// Looks every `period` until `stop`; rings `bell` when units are to go back.
pub async fn run(store: Arc<dyn OrderStore>, bell: Arc<Notify>, period: Duration, stop: CancellationToken) {
    while stop.run_until_cancelled(tokio::time::sleep(period)).await.is_some() {
        loop {
            match store.expire_due(clock::now(), BATCH_MAX).await {
                Ok(0) => break,
                Ok(expired) => {
                    tracing::info!(expired, "unpaid orders expired");
                    bell.notify_one();
                    if expired < BATCH_MAX as usize {
                        break;
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "unpaid orders could not be expired");
                    break;
                }
            }
        }
    }
}
