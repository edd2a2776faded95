//! The servers and other parts without which nothing can be sold, and whether they answer.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::engines::Engines;
use crate::api::health::Readiness;

/// The parts of one set of engines.
#[derive(Clone)]
pub(super) struct Parts {
    engines: Engines,
    others: Vec<Part>,
}

/// A part that knows by itself whether it works.
#[derive(Clone)]
pub(super) struct Part {
    pub name: &'static str,
    pub works: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl Parts {
    /// `others`: those that only one set of engines has.
    pub(super) fn new(engines: Engines, others: Vec<Part>) -> Self {
        Self { engines, others }
    }

    /// Keeps the metric of every part up to date, until `stop`.
    pub(super) async fn watch(self, every: Duration, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            for (part, works) in self.look().await {
                metrics::gauge!("panicbuy_server_up", "server" => part).set(f64::from(u8::from(works)));
            }
        }
    }
}

#[async_trait]
impl Readiness for Parts {
    async fn look(&self) -> BTreeMap<&'static str, bool> {
        let ping = self.engines.store.ping().await;
        let database = ping.inspect_err(|error| tracing::error!(%error, "the database does not answer"));
        let mut parts =
            BTreeMap::from([("database", database.is_ok()), ("order_log", self.engines.log.is_well())]);
        parts.extend(self.others.iter().map(|part| (part.name, (part.works)())));
        parts
    }
}
