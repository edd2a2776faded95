//! The whole program, put together: engines from settings, services, background work, server; then the drain in
//! pipeline order. The only place that names concrete engines. Tests call the same functions.

mod background;
mod files;
mod limits;

use std::{fs::File, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use axum::{Router, routing::get};
use governor::Quota;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};

use crate::{
    admission::{port::WaitingRooms, saved::SavedRooms},
    api::{self, ApiState, health::Health},
    clock,
    config::Settings,
    gateway::{
        conversation::Gateway,
        registry::Registry,
        server,
        upgrade::{self, Door},
    },
    lifecycle::Stop,
    order_log::{port::OrderLog, sqlite::SqliteOrderLog},
    order_writer::writer::OrderWriter,
    recovery,
    reservation::{memory::MemoryEngine, port::Reservations},
    results::{memory::MemoryResults, port::Results},
    service::{
        catalog::Catalog,
        item::ItemService,
        order::{OrderEngines, OrderService},
        password::Passwords,
        promo::{PromoService, RoomLimits},
        queue::QueueService,
        token::Tokens,
        user::{EnsureAdminError, UserService},
    },
    store::sqlite::{SqliteSettings, SqliteStore},
};

/// Password hashes that may wait for a free core.
const MAX_WAITING_HASHES: usize = 200;

/// The program, ready to serve.
pub struct App {
    pub services: Services,
    settings: Settings,
    metrics: PrometheusHandle,
    engines: Engines,
    writer: OrderWriter,
    closings_bell: Arc<Notify>,
    memory: Arc<MemoryEngine>,
    rooms_file: PathBuf,
    /// Keeps other processes off the database as long as the app lives.
    _lock: File,
}

/// What the controllers and the gateway work with.
#[derive(Clone)]
pub struct Services {
    pub users: Arc<UserService>,
    pub items: Arc<ItemService>,
    pub promos: Arc<PromoService>,
    pub orders: Arc<OrderService>,
    pub queue: Arc<QueueService>,
    pub tokens: Arc<Tokens>,
}

/// One set of engines.
#[derive(Clone)]
struct Engines {
    store: Arc<SqliteStore>,
    log: Arc<dyn OrderLog>,
    reservations: Arc<dyn Reservations>,
    rooms: Arc<dyn WaitingRooms>,
    results: Arc<dyn Results>,
}

impl App {
    /// Opens the engines, settles what an earlier run left in the log, and builds the ledgers.
    pub async fn start(settings: Settings, metrics: PrometheusHandle) -> anyhow::Result<Self> {
        let file = settings.engines.sqlite_file()?;
        let lock = files::lock(&file)?;
        let (engines, writer, memory) = embedded(&settings).await?;
        let secret = files::token_secret(&settings, &file).await?;
        let room_limits = limits::room_limits(&settings);
        let requests_since = clock::now().minus_millis(settings.orders.request_memory_ms);
        let pools = recovery::open_pools(
            engines.store.as_ref(),
            engines.store.as_ref(),
            engines.reservations.as_ref(),
            engines.rooms.as_ref(),
            room_limits,
            requests_since,
        )
        .await?;
        tracing::info!(pools, "the ledgers were built from the database");
        let rooms_file = files::beside(&file, ".rooms");
        if let Some(saved) = SavedRooms::read(&rooms_file) {
            memory.go_on(saved.rooms, clock::now());
        }
        let closings_bell = Arc::new(Notify::new());
        let services = services(&settings, &engines, &secret, room_limits, &closings_bell);
        ensure_admin(&settings, &services.users).await?;
        Ok(Self {
            services,
            settings,
            metrics,
            engines,
            writer,
            closings_bell,
            memory,
            rooms_file,
            _lock: lock,
        })
    }

    /// Serves until `shutdown` completes, then drains: no accepted order is left without its outcome being written.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> anyhow::Result<()> {
        let (settings, services, stop) = (&self.settings, &self.services, Stop::default());
        let sockets = &settings.sockets;
        let registry = Arc::new(Registry::new(sockets.outbox_frames, sockets.max_sockets_per_shopper));
        let door = self.door(&registry, &stop);

        let mut tasks = JoinSet::new();
        background::spawn(
            &mut tasks,
            settings,
            &self.engines,
            services,
            registry,
            &self.closings_bell,
            &stop,
        );
        background::spawn_tidying(&mut tasks, services, &door, &self.metrics, &stop);
        let save_every = Duration::from_millis(settings.admission.room_save_ms);
        let saving = background::save_rooms(
            self.memory.clone(),
            self.rooms_file.clone(),
            save_every,
            stop.work.clone(),
        );
        tasks.spawn(saving);
        let server_settings = limits::server_settings(settings);
        let router = self.router(&door);
        let server = tokio::spawn(server::serve(listener, router, server_settings, stop.door.clone()));
        let mut writer = tokio::spawn(self.writer.run(stop.work.clone(), stop.now.clone()));

        // Work that ends before it is told to has panicked: better to stop and start again than to sell without it.
        let failed = tokio::select! {
            () = shutdown => false,
            _ = &mut writer => true,
            _ = tasks.join_next() => true,
        };
        tracing::info!(failed, "shutting down: no new orders; those under way are finished");
        let within = server_settings.drain_within;
        stop.door.cancel();
        stage("sockets and requests", within / 2, async {
            door.closed().await;
            let _ = server.await;
        })
        .await;
        stage("orders", within / 4, services.orders.finish()).await;
        stop.work.cancel();
        stage("background work", within / 4, async {
            if !writer.is_finished() {
                let _ = (&mut writer).await;
            }
            while tasks.join_next().await.is_some() {}
        })
        .await;
        stop.now.cancel();
        stage("the database", within / 4, self.engines.store.close()).await;
        anyhow::ensure!(!failed, "a part of the program failed; what it had accepted is safe");
        Ok(())
    }

    fn door(&self, registry: &Arc<Registry>, stop: &Stop) -> Arc<Door> {
        let gateway = Gateway {
            registry: Arc::clone(registry),
            queue: Arc::clone(&self.services.queue),
            orders: Arc::clone(&self.services.orders),
            tokens: Arc::clone(&self.services.tokens),
            limits: limits::gateway_limits(&self.settings),
        };
        let per_address = self.settings.sockets.handshakes_per_address_per_s;
        Arc::new(Door::new(Arc::new(gateway), per_address, stop.door.clone()))
    }

    fn router(&self, door: &Arc<Door>) -> Router {
        let services = &self.services;
        let state = ApiState {
            users: Arc::clone(&services.users),
            items: Arc::clone(&services.items),
            promos: Arc::clone(&services.promos),
            orders: Arc::clone(&services.orders),
            tokens: Arc::clone(&services.tokens),
            currency: self.settings.server.currency,
        };
        let health =
            Health::new(self.engines.store.clone(), Arc::clone(&services.orders), self.metrics.clone());
        let request_timeout = Duration::from_millis(self.settings.server.request_timeout_ms);
        let router = api::router(state, request_timeout)
            .merge(api::health::routes(health))
            .route("/ws", get(upgrade::upgrade).with_state(Arc::clone(door)));
        api::finish(router)
    }
}

/// Gives one stage of the shutdown its share of the time; the others get theirs whatever happens here.
async fn stage(what: &str, within: Duration, work: impl Future<Output = ()>) {
    if tokio::time::timeout(within, work).await.is_err() {
        tracing::warn!(what, "this took too long to stop; the next start goes on where it was");
    }
}

/// The embedded engines, with the log of an earlier run written out.
async fn embedded(settings: &Settings) -> anyhow::Result<(Engines, OrderWriter, Arc<MemoryEngine>)> {
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
    let memory = Arc::new(MemoryEngine::new(settings.orders.request_memory_ms));
    let engines = Engines {
        store: Arc::clone(&store),
        log: Arc::new(log),
        reservations: memory.clone(),
        rooms: memory.clone(),
        results: Arc::new(MemoryResults::new(settings.sockets.results_capacity)),
    };
    let mut writer = OrderWriter {
        reader: Box::new(reader),
        store,
        reservations: Arc::clone(&engines.reservations),
        rooms: Arc::clone(&engines.rooms),
        results: Arc::clone(&engines.results),
        settings: limits::writer_settings(settings),
    };
    let records = writer.drain_before_start().await?;
    if records > 0 {
        tracing::info!(records, "orders that an earlier run had accepted were written");
    }
    Ok((engines, writer, memory))
}

fn services(
    settings: &Settings,
    engines: &Engines,
    secret: &str,
    room_limits: RoomLimits,
    closings_bell: &Arc<Notify>,
) -> Services {
    let Engines { store, log, reservations, rooms, results } = engines.clone();
    let life = Duration::from_millis(settings.server.cache_ms);
    let catalog = Arc::new(Catalog::new(store.clone(), store.clone(), life));
    let tokens = Arc::new(Tokens::new(secret.as_bytes(), settings.accounts.token_ttl_ms));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let passwords = Passwords::new(cores, MAX_WAITING_HASHES);
    let log_ins = Quota::per_minute(settings.accounts.logins_per_email_per_min);
    let orders = OrderService::new(
        OrderEngines {
            catalog: Arc::clone(&catalog),
            reservations: Arc::clone(&reservations),
            rooms: Arc::clone(&rooms),
            log,
            store: store.clone(),
            results: Arc::clone(&results),
            closings_bell: Arc::clone(closings_bell),
        },
        limits::order_limits(settings),
    );
    Services {
        users: Arc::new(UserService::new(store.clone(), passwords, Arc::clone(&tokens), log_ins)),
        items: Arc::new(ItemService::new(store.clone(), Arc::clone(&reservations), Arc::clone(&catalog))),
        promos: Arc::new(PromoService::new(
            store.clone(),
            store,
            reservations,
            Arc::clone(&rooms),
            results,
            Arc::clone(&catalog),
            room_limits,
        )),
        orders: Arc::new(orders),
        queue: Arc::new(QueueService::new(catalog, rooms)),
        tokens,
    }
}

async fn ensure_admin(settings: &Settings, users: &UserService) -> anyhow::Result<()> {
    let (Some(email), Some(password)) = (&settings.accounts.admin_email, &settings.accounts.admin_password)
    else {
        return Ok(());
    };
    let ensured = users.ensure_admin(email, password.clone(), clock::now()).await;
    ensured.map(drop).map_err(|error| match error {
        EnsureAdminError::Email(error) => {
            anyhow::anyhow!("--admin-email (PANICBUY_ADMIN_EMAIL) is {email:?}: it {error}")
        }
        EnsureAdminError::Password(error) => {
            anyhow::anyhow!("--admin-password (PANICBUY_ADMIN_PASSWORD): it {error}")
        }
        error => error.into(),
    })
}
