//! The `panicbuy` program: reads the settings, starts logging and metrics, and runs the app.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use panicbuy::{
    api::health,
    app::App,
    config::{Cli, Command, Settings},
    demo,
    gateway::server,
    lifecycle, telemetry,
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What is wrong with a setting is for people to read, without a backtrace.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let _failpoints = fail::FailScenario::setup();
    match Cli::parse().command {
        Command::Serve(settings) => {
            let (app, listener) = start(*settings).await?;
            app.serve(listener, stopped()).await
        }
        Command::Openapi => {
            println!("{:#}", panicbuy::api::openapi());
            Ok(())
        }
        Command::Healthcheck { listen } => healthcheck(listen).await,
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

/// Asks the server on this machine's address whether it is alive.
async fn healthcheck(mut listen: SocketAddr) -> anyhow::Result<()> {
    if listen.ip().is_unspecified() {
        listen.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let alive = health::is_alive(listen).await.with_context(|| format!("{listen} does not answer"))?;
    anyhow::ensure!(alive, "{listen} is not well");
    Ok(())
}

async fn start(settings: Settings) -> anyhow::Result<(App, TcpListener)> {
    telemetry::start_logging(&settings.server.log, settings.server.log_format)?;
    let metrics = telemetry::start_metrics()?;
    let address = settings.server.listen;
    let listener = server::listen(address)
        .with_context(|| format!("--listen (PANICBUY_LISTEN): {address} cannot be had"))?;
    let app = App::start(settings, metrics).await?;
    println!("PanicBuying is listening on http://{}", listener.local_addr()?);
    Ok((app, listener))
}

/// A process that cannot hear signals is stopped by its supervisor all the same.
async fn stopped() {
    if let Err(error) = lifecycle::asked_to_stop().await {
        tracing::error!(%error, "signals cannot be heard");
        std::future::pending::<()>().await;
    }
}
