//! The embedded engines: one process, one SQLite file, and its neighbours.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    engines::{Engines, Keeper, Opened},
    files, limits,
};
use crate::{
    admission::saved::SavedRooms,
    clock,
    config::Settings,
    order_log::sqlite::SqliteOrderLog,
    order_writer::writer::OrderWriter,
    recovery,
    reservation::memory::MemoryEngine,
    results::memory::MemoryResults,
    store::sqlite::{SqliteSettings, SqliteStore},
};

/// Saving waiting rooms takes at most one part of the time in so many.
const SAVING_SHARE: u32 = 20;

/// What only the embedded engines need.
pub(super) struct Embedded {
    memory: Arc<MemoryEngine>,
    rooms_file: PathBuf,
    /// Keeps other processes off the database as long as the app lives.
    _lock: File,
}

/// Opens the file, settles what an earlier run left in the log, and builds ledgers and rooms.
pub(super) async fn open(settings: &Settings, file: &Path) -> anyhow::Result<Opened> {
    let lock = files::lock(file)?;
    let (engines, mut writer, memory) = start(settings).await?;
    let records = writer.drain_before_start().await?;
    if records > 0 {
        tracing::info!(records, "orders that an earlier run had accepted were written");
    }
    let pools = recovery::open_pools(
        engines.store.as_ref(),
        engines.reservations.as_ref(),
        engines.rooms.as_ref(),
        limits::recovery_limits(settings),
    )
    .await?;
    tracing::info!(pools, "the ledgers were built from the database");
    let rooms_file = files::beside(file, ".rooms");
    if let Some(saved) = SavedRooms::read(&rooms_file) {
        memory.go_on(saved.rooms, clock::now());
    }
    Ok(Opened {
        engines,
        writer: Some(writer),
        token_secret: files::token_secret(settings, file).await?,
        keeper: Keeper::Embedded(Embedded { memory, rooms_file, _lock: lock }),
    })
}

async fn start(settings: &Settings) -> anyhow::Result<(Engines, OrderWriter, Arc<MemoryEngine>)> {
    let sqlite = SqliteSettings { readers: settings.engines.database_readers, ..SqliteSettings::default() };
    let url = &settings.engines.database_url;
    let opened = SqliteStore::open(url, &sqlite).await;
    let store =
        Arc::new(opened.with_context(|| {
            format!("--database-url (PANICBUY_DATABASE_URL): {url:?} could not be opened")
        })?);
    let log = SqliteOrderLog::start(
        store.writer().clone(),
        store.reader().clone(),
        settings.orders.max_orders_in_flight,
    );
    let reader = log.reader().await?;
    let results = Arc::new(MemoryResults::new(settings.sockets.results_capacity));
    let memory = Arc::new(MemoryEngine::new(Arc::clone(&results), settings.orders.request_memory_ms));
    let engines = Engines {
        store: store.clone(),
        log: Arc::new(log),
        reservations: memory.clone(),
        rooms: memory.clone(),
        results,
    };
    let writer =
        OrderWriter::new(Box::new(reader), store, memory.clone(), limits::writer_settings(settings, true));
    Ok((engines, writer, memory))
}

impl Embedded {
    /// Saves the waiting rooms whenever they have changed, and once more at the end. Large rooms take longer to save and
    /// are saved less often, so that it never takes more than a small share of the time.
    pub(super) fn save_rooms(
        &self,
        every: Duration,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + use<> {
        let (memory, file) = (Arc::clone(&self.memory), self.rooms_file.clone());
        async move {
            let mut saved = 0;
            let mut going_on = true;
            let mut took = Duration::ZERO;
            while going_on {
                let pause = every.max(took * SAVING_SHARE);
                going_on = stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some();
                let started = Instant::now();
                let (changes, rooms) = memory.rooms_if_changed(saved);
                let Some(rooms) = rooms else { continue };
                let file = file.clone();
                let writing = tokio::task::spawn_blocking(move || SavedRooms::new(rooms).write(&file));
                match writing.await.map_err(std::io::Error::other).flatten() {
                    Ok(()) => saved = changes,
                    Err(error) => tracing::warn!(%error, "the waiting rooms could not be saved"),
                }
                took = started.elapsed();
            }
        }
    }
}
