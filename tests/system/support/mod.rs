//! What the tests of the whole system share: a server in this process on a free port, and clients for it.

pub mod client;
pub mod described;
pub mod home;
pub mod process;
pub mod shop;

use std::{net::SocketAddr, sync::OnceLock, time::Duration};

use clap::Parser;
use metrics_exporter_prometheus::PrometheusHandle;
use panicbuy::{
    app::{App, Services},
    config::{Cli, Command, Settings},
    gateway::server,
    store::sqlite::{SqliteSettings, SqliteStore},
    telemetry,
};
use tokio::{sync::oneshot, task::JoinHandle};

use self::home::Home;

pub const ADMIN_EMAIL: &str = "admin@shop.example";
pub const ADMIN_PASSWORD: &str = "correct horse battery";

/// Whatever a test waits for must come within this.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A server in this process with a database of its own.
pub struct Server {
    pub address: SocketAddr,
    pub services: Services,
    pub home: Home,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<anyhow::Result<()>>,
}

impl Server {
    /// A server with the default settings.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// A server with these flags beside the usual ones.
    pub async fn with(flags: &[&str]) -> Self {
        Self::at(Home::new(), flags).await
    }

    /// A server in this home.
    pub async fn at(home: Home, flags: &[&str]) -> Self {
        let settings = settings(&home, flags);
        let listener = server::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let app = App::start(settings, metrics()).await.unwrap();
        let services = app.services.clone();
        let (stop, stopped) = oneshot::channel();
        let serving = tokio::spawn(app.serve(listener, async {
            let _ = stopped.await;
        }));
        Self { address, services, home, stop, serving }
    }

    /// Another program's connections to the server's database.
    pub async fn database(&self) -> SqliteStore {
        let file = self.home.file("shop.db");
        SqliteStore::open(&format!("sqlite:{}", file.display()), &SqliteSettings::default()).await.unwrap()
    }

    /// Begins the shutdown and waits until the server is gone; returns its home.
    pub async fn stop(self) -> Home {
        let _ = self.stop.send(());
        tokio::time::timeout(PATIENCE, self.serving).await.expect("the server stops").unwrap().unwrap();
        self.home
    }

    /// Begins the shutdown; [`Self::stop`] is the one that waits.
    pub fn begin_stop(self) -> JoinHandle<anyhow::Result<()>> {
        let _ = self.stop.send(());
        self.serving
    }
}

fn settings(home: &Home, flags: &[&str]) -> Settings {
    let usual = ["panicbuy", "serve", "--admin-email", ADMIN_EMAIL, "--admin-password", ADMIN_PASSWORD];
    let of_home = home.flags().iter().map(String::as_str);
    let cli = Cli::try_parse_from(usual.into_iter().chain(of_home).chain(flags.iter().copied())).unwrap();
    match cli.command {
        Command::Serve(settings) => *settings,
        _ => unreachable!("serve was asked for"),
    }
}

/// The metrics of this process; there is one recorder for all servers in it.
pub fn metrics() -> PrometheusHandle {
    static METRICS: OnceLock<PrometheusHandle> = OnceLock::new();
    METRICS.get_or_init(|| telemetry::start_metrics().unwrap()).clone()
}

/// Waits until `condition` gives an answer.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, condition: impl FnMut() -> F) -> T {
    eventually_within(PATIENCE, what, condition).await
}

/// Waits until `condition` gives an answer, perhaps for longer than usual.
pub async fn eventually_within<T, F: Future<Output = Option<T>>>(
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(answer) = condition().await {
            return answer;
        }
        assert!(tokio::time::Instant::now() < deadline, "{what} did not come true within {patience:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
