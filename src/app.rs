//! The whole program, put together: engines from settings, services, background work, server; then the drain in
//! pipeline order. The only place that names concrete engines. Tests call the same functions.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use axum::routing::get;
use governor::Quota;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::{port::WaitingRooms, saved::SavedRooms, ticker},
    api::{self, ApiState, health::Health},
    clock,
    config::Settings,
    gateway::{
        conversation::{Gateway, GatewayLimits},
        hub::Hub,
        registry::Registry,
        server::{self, ServerSettings},
        upgrade::{self, Door},
    },
    lifecycle::Stop,
    order_log::{
        port::OrderLog,
        relay::{self, RelaySettings},
        sqlite::SqliteOrderLog,
    },
    order_writer::{
        closings::Closings,
        payment_window,
        writer::{OrderWriter, WriterSettings},
    },
    random, recovery,
    reservation::{memory::MemoryEngine, port::Reservations},
    results::{memory::MemoryResults, port::Results},
    service::{
        catalog::Catalog,
        item::ItemService,
        order::{OrderEngines, OrderLimits, OrderService},
        password::Passwords,
        promo::{PromoService, RoomLimits},
        queue::QueueService,
        token::Tokens,
        user::{EnsureAdminError, UserService},
    },
    store::sqlite::{SqliteSettings, SqliteStore},
};

/// How often limiters forget who has been quiet, and metrics are tidied.
const TIDY_EVERY: Duration = Duration::from_secs(10);

/// How often the times of promos are looked at.
const PROMO_CLOCK: Duration = Duration::from_millis(200);

/// Saving waiting rooms takes at most one part of the time in so many.
const SAVING_SHARE: u32 = 20;

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
    stop: Stop,
    tasks: TaskTracker,
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
        let (engines, writer, memory) = embedded(&settings).await?;
        let secret = token_secret(&settings, &file).await?;
        let limits = room_limits(&settings);
        let requests_since = clock::now().minus_millis(settings.orders.request_memory_ms);
        let pools = recovery::open_pools(
            engines.store.as_ref(),
            engines.store.as_ref(),
            engines.reservations.as_ref(),
            engines.rooms.as_ref(),
            limits,
            requests_since,
        )
        .await?;
        tracing::info!(pools, "the ledgers were built from the database");
        let rooms_file = beside(&file, ".rooms");
        if let Some(saved) = SavedRooms::read(&rooms_file) {
            memory.go_on(saved.rooms, clock::now());
        }
        let closings_bell = Arc::new(Notify::new());
        let services = services(&settings, &engines, &secret, limits, &closings_bell);
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
            stop: Stop::default(),
            tasks: TaskTracker::new(),
        })
    }

    /// Serves until `shutdown` completes, then drains: no accepted order is left without its outcome being written.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> anyhow::Result<()> {
        let Self {
            services,
            settings,
            metrics,
            engines,
            writer,
            closings_bell,
            memory,
            rooms_file,
            stop,
            tasks,
        } = self;
        let server_args = &settings.server;
        let registry =
            Arc::new(Registry::new(settings.sockets.outbox_frames, settings.sockets.max_sockets_per_shopper));
        let gateway = Arc::new(Gateway {
            registry: Arc::clone(&registry),
            queue: Arc::clone(&services.queue),
            orders: Arc::clone(&services.orders),
            tokens: Arc::clone(&services.tokens),
            limits: gateway_limits(&settings),
        });
        let per_address = settings.sockets.handshakes_per_address_per_s;
        let door = Arc::new(Door::new(gateway, per_address, stop.door.clone()));

        spawn_background(&tasks, &settings, &engines, &services, registry, &closings_bell, &stop);
        spawn_tidying(&tasks, &services, &door, &metrics, &stop);
        let save_every = Duration::from_millis(settings.admission.room_save_ms);
        tasks.spawn(save_rooms(memory, rooms_file, save_every, stop.work.clone()));
        let writer = tokio::spawn(writer.run(stop.work.clone(), stop.now.clone()));

        let health = Health::new(engines.store.clone(), Arc::clone(&services.orders), metrics);
        let state = ApiState {
            users: services.users,
            items: services.items,
            promos: services.promos,
            orders: Arc::clone(&services.orders),
            tokens: services.tokens,
            currency: server_args.currency,
        };
        let request_timeout = Duration::from_millis(server_args.request_timeout_ms);
        let router = api::router(state, request_timeout)
            .merge(api::health::routes(health))
            .route("/ws", get(upgrade::upgrade).with_state(Arc::clone(&door)));
        let router = api::finish(router);
        let drain_within = Duration::from_millis(server_args.drain_timeout_ms);
        let server_settings = ServerSettings {
            head_within: Duration::from_millis(server_args.head_timeout_ms),
            max_connections: server_args.max_connections,
            drain_within,
        };
        let server = tokio::spawn(server::serve(listener, router, server_settings, stop.door.clone()));

        shutdown.await;
        tracing::info!("shutting down: no new orders; those under way are finished");
        let drain = async {
            stop.door.cancel();
            door.closed().await;
            let _ = server.await;
            services.orders.finish().await;
            stop.work.cancel();
            let _ = writer.await;
            tasks.close();
            tasks.wait().await;
        };
        if tokio::time::timeout(drain_within, drain).await.is_err() {
            tracing::warn!("the shutdown took too long; the next start goes on where this one stopped");
        }
        stop.now.cancel();
        engines.store.close().await;
        Ok(())
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
        settings: WriterSettings {
            batch_max: settings.orders.writer_batch,
            idle_wait: Duration::from_millis(500),
            retry_min: Duration::from_millis(20),
            retry_max: Duration::from_millis(settings.orders.retry_max_ms),
        },
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
    limits: RoomLimits,
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
        order_limits(settings),
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
            limits,
        )),
        orders: Arc::new(orders),
        queue: Arc::new(QueueService::new(catalog, rooms)),
        tokens,
    }
}

/// Everything that goes on whether or not anybody asks.
fn spawn_background(
    tasks: &TaskTracker,
    settings: &Settings,
    engines: &Engines,
    services: &Services,
    registry: Arc<Registry>,
    closings_bell: &Arc<Notify>,
    stop: &Stop,
) {
    let Engines { store, log, reservations, rooms, results } = engines.clone();
    let hub = Hub {
        registry,
        queue: Arc::clone(&services.queue),
        results: Arc::clone(&results),
        broadcast_every: Duration::from_millis(settings.sockets.broadcast_interval_ms),
        presence_every: Duration::from_millis(settings.admission.presence_interval_ms),
    };
    tasks.spawn(hub.clone().deliver(stop.work.clone()));
    tasks.spawn(hub.clone().broadcast(stop.work.clone()));
    tasks.spawn(hub.report_presence(stop.work.clone()));

    let queue = Arc::clone(&services.queue);
    let live_rooms = move || {
        let queue = Arc::clone(&queue);
        async move {
            queue.live().await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the live promos could not be read");
                Vec::new()
            })
        }
    };
    let tick = Duration::from_millis(settings.admission.tick_ms);
    tasks.spawn(ticker::run(Arc::clone(&rooms), Arc::clone(&results), live_rooms, tick, stop.work.clone()));

    let promos = Arc::clone(&services.promos);
    let stop_promos = stop.work.clone();
    tasks.spawn(async move {
        while stop_promos.run_until_cancelled(tokio::time::sleep(PROMO_CLOCK)).await.is_some() {
            promos.act_on_time(clock::now()).await;
        }
    });

    let relay_settings = RelaySettings {
        period: Duration::from_millis(settings.orders.relay_after_ms / 2 + 1),
        after_ms: settings.orders.relay_after_ms,
        batch_max: 1000,
    };
    tasks.spawn(relay::run(Arc::clone(&reservations), log, relay_settings, stop.work.clone()));
    let every = Duration::from_millis(settings.orders.expiry_interval_ms);
    let bell = Arc::clone(closings_bell);
    tasks.spawn(payment_window::run(store.clone(), Arc::clone(&bell), every, stop.work.clone()));
    let closings = Closings { store, reservations, rooms, results, bell, period: Duration::from_millis(500) };
    tasks.spawn(closings.run(stop.work.clone()));
}

fn spawn_tidying(
    tasks: &TaskTracker,
    services: &Services,
    door: &Arc<Door>,
    metrics: &PrometheusHandle,
    stop: &Stop,
) {
    let stop = stop.work.clone();
    let (door, metrics) = (Arc::clone(door), metrics.clone());
    let (orders, users) = (Arc::clone(&services.orders), Arc::clone(&services.users));
    tasks.spawn(async move {
        while stop.run_until_cancelled(tokio::time::sleep(TIDY_EVERY)).await.is_some() {
            users.tidy();
            orders.forget_quiet_shoppers();
            door.forget_quiet_addresses();
            metrics.run_upkeep();
        }
    });
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

/// The secret that signs tokens: as set, or as kept beside the database, or a fresh one that is kept there from now on.
async fn token_secret(settings: &Settings, database: &Path) -> anyhow::Result<String> {
    if let Some(secret) = &settings.accounts.token_secret {
        return Ok(secret.clone());
    }
    let file = &beside(database, ".token-secret");
    match tokio::fs::read_to_string(file).await {
        Ok(secret) if secret.trim().len() >= 32 => Ok(secret.trim().to_owned()),
        Ok(_) => anyhow::bail!("{} holds no token secret of at least 32 characters", file.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = hex::encode(random::bytes::<32>());
            write_private(file, &secret)
                .await
                .with_context(|| format!("{} could not be written", file.display()))?;
            Ok(secret)
        }
        Err(error) => Err(error).with_context(|| format!("{} could not be read", file.display())),
    }
}

/// The database's neighbour with this ending.
fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut file = database.as_os_str().to_owned();
    file.push(ending);
    PathBuf::from(file)
}

/// Saves the waiting rooms whenever they have changed, and once more at the end. Large rooms take longer to save and are
/// saved less often, so that it never takes more than a small share of the time.
async fn save_rooms(memory: Arc<MemoryEngine>, file: PathBuf, every: Duration, stop: CancellationToken) {
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

/// Writes a file that only its owner may read.
async fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    use tokio::io::AsyncWriteExt;
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(file).await?;
    file.write_all(text.as_bytes()).await?;
    file.sync_all().await
}

fn room_limits(settings: &Settings) -> RoomLimits {
    RoomLimits {
        grace_ms: settings.admission.grace_ms,
        max_unsettled: settings.admission.max_unsettled,
        max_places: settings.admission.max_places,
    }
}

fn order_limits(settings: &Settings) -> OrderLimits {
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

fn gateway_limits(settings: &Settings) -> GatewayLimits {
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
