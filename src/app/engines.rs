//! Which engines run: the sets by their ports, and what belongs to one set alone.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{cluster::Cluster, embedded::Embedded, parts::Part};
use crate::{
    admission::port::WaitingRooms,
    config::{EngineSet, Settings},
    order_log::port::OrderLog,
    order_writer::writer::OrderWriter,
    reservation::port::Reservations,
    results::port::Results,
    store::port::Store,
};

/// One set of engines.
#[derive(Clone)]
pub(super) struct Engines {
    pub store: Arc<dyn Store>,
    pub log: Arc<dyn OrderLog>,
    pub reservations: Arc<dyn Reservations>,
    pub rooms: Arc<dyn WaitingRooms>,
    pub results: Arc<dyn Results>,
}

/// A set of engines at work.
pub(super) struct Opened {
    pub engines: Engines,
    /// In a process that writes.
    pub writer: Option<OrderWriter>,
    pub token_secret: String,
    pub keeper: Keeper,
}

/// What one set of engines needs besides.
pub(super) enum Keeper {
    Embedded(Embedded),
    Cluster(Cluster),
}

impl Keeper {
    /// Rung by an engine that has met a ledger that is not ready.
    pub(super) fn lost_bell(&self) -> Arc<Notify> {
        match self {
            Self::Embedded(_) => Arc::new(Notify::new()),
            Self::Cluster(cluster) => Arc::clone(&cluster.lost_bell),
        }
    }

    /// The parts that only this set has.
    pub(super) fn parts(&self) -> Vec<Part> {
        match self {
            Self::Embedded(_) => Vec::new(),
            Self::Cluster(cluster) => cluster.parts(),
        }
    }
}

/// Opens the engines that the settings name.
pub(super) async fn open(settings: &Settings) -> anyhow::Result<Opened> {
    match settings.engines.set()? {
        EngineSet::Embedded { file } => super::embedded::open(settings, &file).await,
        EngineSet::Cluster { database_url, redis_url, kafka_brokers } => {
            super::cluster::open(settings, &database_url, &redis_url, &kafka_brokers).await
        }
    }
}
