//! Accepts connections: HTTP/1.1 with a limit on the time a client may take to ask, and on how many may be open.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use hyper::{Request, body::Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How the server accepts.
#[derive(Clone, Copy, Debug)]
pub struct ServerSettings {
    /// How long a client may take to send the head of a request.
    pub head_within: Duration,
    /// Open connections of any kind.
    pub max_connections: usize,
    /// How long open requests may take after the shutdown began.
    pub drain_within: Duration,
}

/// The head of a request, at most.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// After an error that accepting cannot help (no free file descriptor), it waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the kernel buffers for a client that does not read, per connection, in bytes.
const SEND_BUFFER: u32 = 64 * 1024;

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;

/// Listens on an address; port 0 picks a free one.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `shutdown`, then lets open requests finish. Sockets are not waited for: the sessions drain themselves.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    settings: ServerSettings,
    shutdown: CancellationToken,
) {
    let connections = Arc::new(Semaphore::new(settings.max_connections));
    let graceful = GracefulShutdown::new();
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(settings.head_within)
        .max_buf_size(MAX_HEAD_BYTES);
    while let Some(accepted) = shutdown.run_until_cancelled(accept(&listener, &connections)).await {
        match accepted {
            Ok((stream, peer, permit)) => {
                let permit = Arc::new(permit);
                let service = service(router.clone(), peer, Arc::clone(&permit));
                let connection =
                    builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
                let connection = graceful.watch(connection);
                tokio::spawn(async move {
                    // What a client did wrong on its connection is its own affair.
                    let _ = connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(settings.drain_within, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not finish before the shutdown");
    }
}

async fn accept(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(connections).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Frames are tiny and urgent.
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}

/// The right to hold one connection. Whoever takes a connection over keeps it: requests carry it as an extension.
pub type ConnectionPermit = Arc<OwnedSemaphorePermit>;

/// The router as a hyper service that knows its peer.
fn service(
    router: Router,
    peer: SocketAddr,
    permit: ConnectionPermit,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = axum::response::Response,
    Error = std::convert::Infallible,
    Future: Send,
> {
    hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        request.extensions_mut().insert(Arc::clone(&permit));
        router.clone().oneshot(request)
    })
}
