//! The whole program, put together: engines from settings, services, background work, server; then the drain in
//! pipeline order. The only place that names concrete engines. Tests call the same functions.

mod background;
mod cluster;
mod embedded;
mod engines;
mod files;
mod limits;
mod parts;

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use governor::Quota;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::{net::TcpListener, sync::Notify, task::JoinSet};

use self::{
    background::Background,
    engines::{Engines, Keeper, Opened},
    parts::Parts,
};
use crate::{
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
    order_writer::writer::OrderWriter,
    service::{
        catalog::Catalog,
        item::ItemService,
        order::{OrderEngines, OrderService},
        password::Passwords,
        promo::PromoService,
        queue::QueueService,
        token::Tokens,
        user::{EnsureAdminError, UserService},
    },
};

/// Password hashes that may wait for a free core.
const MAX_WAITING_HASHES: usize = 200;

/// The program, ready to serve.
pub struct App {
    pub services: Services,
    settings: Settings,
    metrics: PrometheusHandle,
    engines: Engines,
    writer: Option<OrderWriter>,
    keeper: Keeper,
    closings_bell: Arc<Notify>,
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

impl App {
    /// Opens the engines, and makes the services on them.
    pub async fn start(settings: Settings, metrics: PrometheusHandle) -> anyhow::Result<Self> {
        let Opened { engines, writer, token_secret, keeper } = engines::open(&settings).await?;
        let closings_bell = Arc::new(Notify::new());
        let services = services(&settings, &engines, &keeper, &token_secret, &closings_bell);
        ensure_admin(&settings, &services.users).await?;
        Ok(Self { services, settings, metrics, engines, writer, keeper, closings_bell })
    }

    /// Serves until `shutdown` completes, then drains: no accepted order is left without its outcome being written.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> anyhow::Result<()> {
        let (settings, services, stop) = (&self.settings, &self.services, Stop::default());
        let role = settings.engines.role;
        let sockets = &settings.sockets;
        let registry = Arc::new(Registry::new(sockets.outbox_frames, sockets.max_sockets_per_shopper));
        let door = self.door(&registry, &stop);
        let parts = Parts::new(self.engines.clone(), self.keeper.parts());

        let mut tasks = JoinSet::new();
        let mut background =
            Background { tasks: &mut tasks, settings, engines: &self.engines, services, stop: &stop };
        background.for_everybody(parts.clone(), &self.keeper, &self.closings_bell);
        if role.is_gateway() {
            background.for_gateways(registry, &door, &self.metrics);
        }
        if role.is_writer() {
            background.for_writers(&self.closings_bell);
        }
        let server_settings = limits::server_settings(settings);
        let router = self.router(&door, parts);
        let server = tokio::spawn(server::serve(listener, router, server_settings, stop.door.clone()));
        let mut writer = tokio::spawn(write(self.writer, stop.clone()));

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

    fn router(&self, door: &Arc<Door>, parts: Parts) -> Router {
        let health =
            api::health::routes(Health { readiness: Arc::new(parts), metrics: self.metrics.clone() });
        if !self.settings.engines.role.is_gateway() {
            return health;
        }
        let services = &self.services;
        let state = ApiState {
            users: Arc::clone(&services.users),
            items: Arc::clone(&services.items),
            promos: Arc::clone(&services.promos),
            orders: Arc::clone(&services.orders),
            tokens: Arc::clone(&services.tokens),
            currency: self.settings.server.currency,
        };
        let request_timeout = Duration::from_millis(self.settings.server.request_timeout_ms);
        let router = api::router(state, request_timeout)
            .merge(health)
            .route("/ws", get(upgrade::upgrade).with_state(Arc::clone(door)));
        api::finish(router)
    }
}

/// Runs the order writer, in a process that has one.
async fn write(writer: Option<OrderWriter>, stop: Stop) {
    match writer {
        Some(writer) => writer.run(stop.work, stop.now).await,
        None => stop.work.cancelled().await,
    }
}

/// Gives one stage of the shutdown its share of the time; the others get theirs whatever happens here.
async fn stage(what: &str, within: Duration, work: impl Future<Output = ()>) {
    if tokio::time::timeout(within, work).await.is_err() {
        tracing::warn!(what, "this took too long to stop; the next start goes on where it was");
    }
}

fn services(
    settings: &Settings,
    engines: &Engines,
    keeper: &Keeper,
    secret: &str,
    closings_bell: &Arc<Notify>,
) -> Services {
    let Engines { store, log, reservations, rooms, .. } = engines.clone();
    let life = Duration::from_millis(settings.server.cache_ms);
    let catalog = Catalog::new(store.clone(), store.clone(), life);
    let catalog = Arc::new(match keeper {
        Keeper::Embedded(_) => catalog,
        Keeper::Cluster(cluster) => catalog.sharing(Arc::clone(&cluster.hot_reads)),
    });
    let tokens = Arc::new(Tokens::new(secret.as_bytes(), settings.accounts.token_ttl_ms));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let passwords = Passwords::new(cores, MAX_WAITING_HASHES);
    let log_ins = Quota::per_minute(settings.accounts.logins_per_email_per_min);
    let orders = OrderService::new(
        OrderEngines {
            catalog: Arc::clone(&catalog),
            reservations: Arc::clone(&reservations),
            log,
            store: store.clone(),
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
            Arc::clone(&catalog),
            limits::room_limits(settings),
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
