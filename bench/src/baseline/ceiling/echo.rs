//! WebSocket frames sent back: what the library and the kernel can do with small frames on this machine.
//!
//! The server is a process of its own, with the gateway's buffers and nothing behind them. The clients are one thread of this
//! process. Each socket has one frame under way, and sends the next when the last has come back, so every frame is one round trip.

use std::{future::IntoFuture, io, net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use axum::{
    Router,
    extract::ws::{Message, WebSocket, WebSocketUpgrade},
    response::Response,
    routing::any,
    serve::ListenerExt,
};
use clap::Args;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    time::timeout,
};

use super::echo_client;
use crate::{
    baseline::timing::{Pace, Repeats},
    found::Found,
    process,
};

/// The gateway's buffers.
const READ_BUFFER: usize = 4096;
const MAX_WRITE_BUFFER: usize = 256 * 1024;
const MAX_MESSAGE: usize = 64 * 1024;
/// How long the server may take to say where it listens.
const STARTS_WITHIN: Duration = Duration::from_secs(10);

/// Settings of the echo.
#[derive(Clone, Debug, Args)]
pub struct EchoSettings {
    /// Sockets that are open at once.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [100, 1000, 5000])]
    pub echo_sockets: Vec<u32>,
}

/// Measures every number of sockets; `echo_frames_per_s` is the best of all, in frames that came back.
pub async fn measure(settings: &EchoSettings, pace: Pace, found: &mut Found) -> anyhow::Result<()> {
    found.set("echo_frame_bytes", echo_client::FRAME.len());
    for &sockets in &settings.echo_sockets {
        let (repeats, cores, client_cores) = repeat(sockets, pace).await?;
        repeats.note(found, &format!("echo_frames_per_s_of_{sockets}_sockets"));
        found.note(&format!("echo_server_cores_of_{sockets}_sockets"), cores);
        found.note(&format!("echo_client_cores_of_{sockets}_sockets"), client_cores);
        found.latencies.insert(format!("echo_of_{sockets}_sockets"), repeats.percentiles());
        eprintln!("echo, {sockets} sockets: {:.0} frames per second", repeats.median());
        if found.numbers.get("echo_frames_per_s").is_none_or(|best| repeats.median() > *best) {
            repeats.note(found, "echo_frames_per_s");
        }
    }
    Ok(())
}

/// The repeats, and how many cores the server and its clients kept busy in the last of them.
async fn repeat(sockets: u32, pace: Pace) -> anyhow::Result<(Repeats, f64, f64)> {
    let (mut repeats, mut cores, mut client_cores) = (Repeats::default(), 0.0, 0.0);
    for _ in 0..pace.repeats {
        let (server, address) = start().await?;
        let pid = server.id().context("the echo server has ended")?;
        let run = move || echo_client::run(address, sockets, pace, || process::usage(pid));
        let echoed = tokio::task::spawn_blocking(run).await??;
        ensure!(echoed.lost == 0, "{} sockets were lost", echoed.lost);
        (cores, client_cores) =
            (process::cores(echoed.before, echoed.after, echoed.elapsed), echoed.client_cores);
        repeats.push(echoed.per_s, &echoed.latencies);
        drop(server);
    }
    Ok((repeats, cores, client_cores))
}

/// A server of its own; killed when it is dropped.
async fn start() -> anyhow::Result<(Child, SocketAddr)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--threads", "2", "echo-server"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
    let line =
        timeout(STARTS_WITHIN, lines.next_line()).await.context("the echo server does not start")??;
    let address = line.context("the echo server has ended")?.parse()?;
    Ok((child, address))
}

/// Runs the echo server: prints its address, and ends when its standard input does.
pub async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // Without it frames are late, and the measurement says so.
        let _ = stream.set_nodelay(true);
    });
    let serving = axum::serve(listener, Router::new().route("/ws", any(upgrade)));
    let ended = tokio::task::spawn_blocking(|| io::copy(&mut io::stdin().lock(), &mut io::sink()));
    tokio::select! {
        served = serving.into_future() => Ok(served?),
        _ = ended => Ok(()),
    }
}

async fn upgrade(upgrade: WebSocketUpgrade) -> Response {
    upgrade
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(echo)
}

async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if let Message::Text(_) = message
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latencies;

    #[tokio::test]
    async fn every_frame_comes_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(axum::serve(listener, Router::new().route("/ws", any(upgrade))).into_future());
        let pace = Pace { warm_up: 0, duration: 1, repeats: 1 };
        let usage = || process::usage(std::process::id());
        let run = move || echo_client::run(address, 3, pace, usage);
        let echoed = tokio::task::spawn_blocking(run).await.unwrap().unwrap();
        assert_eq!(echoed.lost, 0);
        assert!(Latencies::count(&echoed.latencies) > 0 && echoed.per_s > 0.0);
    }
}
