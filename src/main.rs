//! The `panicbuy` program: reads the settings, starts logging and metrics, and runs the app.

use std::net::SocketAddr;

use anyhow::Context;
use clap::Parser;
use panicbuy::{
    app::App,
    config::{Cli, Command, Settings},
    demo, lifecycle, telemetry,
};
use tokio::net::{TcpListener, TcpSocket};

/// What the kernel buffers for a client that does not read, per connection, in bytes.
const SEND_BUFFER: u32 = 64 * 1024;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let _failpoints = fail::FailScenario::setup();
    match Cli::parse().command {
        Command::Serve(settings) => {
            let (app, listener) = start(*settings).await?;
            app.serve(listener, stopped()).await
        }
        Command::Demo(demo) => {
            let crowd = demo::Crowd::of(&demo);
            let (app, listener) = start(demo.settings).await?;
            let shoppers = demo::open_shop(&app.services, &crowd, listener.local_addr()?).await?;
            let serving = app.serve(listener, stopped());
            tokio::select! {
                served = serving => served,
                () = shoppers.run() => unreachable!("the crowd stays until the process ends"),
            }
        }
    }
}

async fn start(settings: Settings) -> anyhow::Result<(App, TcpListener)> {
    telemetry::start_logging(&settings.server.log, settings.server.log_format)?;
    let metrics = telemetry::start_metrics()?;
    let listener = listen(settings.server.listen)?;
    let app = App::start(settings, metrics).await?;
    println!("PanicBuying is listening on http://{}", listener.local_addr()?);
    Ok((app, listener))
}

fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address).with_context(|| format!("--listen (PANICBUY_LISTEN): {address} is not free"))?;
    Ok(socket.listen(BACKLOG)?)
}

/// A process that cannot hear signals is stopped by its supervisor all the same.
async fn stopped() {
    if let Err(error) = lifecycle::asked_to_stop().await {
        tracing::error!(%error, "signals cannot be heard");
        std::future::pending::<()>().await;
    }
}
