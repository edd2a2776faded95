//! The handshake: who gets a socket.

use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
};

use axum::{
    BoxError, Extension,
    extract::{
        ConnectInfo, State,
        ws::{Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection},
    },
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use futures_util::{SinkExt, StreamExt};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::api::problem::{Code, Problem};

use super::{
    conversation::Gateway,
    protocol::{MAX_CLIENT_FRAME, SUBPROTOCOL},
    server::ConnectionPermit,
    session,
};

/// The read buffer of one socket. axum's default would cost 128 KiB each.
const READ_BUFFER: usize = 1024;

/// Bytes that are written at once, so that frames that go out together are one packet.
const WRITE_BUFFER: usize = 1024;

/// Bytes a socket may have waiting to be written; a client that lets them pile up is too slow.
const MAX_WRITE_BUFFER: usize = 256 * 1024;

/// What the library reads of one message before it gives up. Above [`MAX_CLIENT_FRAME`], so that a frame that is only a
/// little too long still gets the documented close code.
const MAX_MESSAGE: usize = 16 * MAX_CLIENT_FRAME;

/// Opens sockets.
pub struct Door {
    gateway: Arc<Gateway>,
    per_address: DefaultKeyedRateLimiter<IpAddr>,
    sessions: TaskTracker,
    shutdown: CancellationToken,
}

impl Door {
    /// `per_address_per_s`: handshakes per second of one address, and as many at once; many shoppers may share one.
    pub fn new(gateway: Arc<Gateway>, per_address_per_s: NonZeroU32, shutdown: CancellationToken) -> Self {
        let per_address = RateLimiter::keyed(Quota::per_second(per_address_per_s));
        Self { gateway, per_address, sessions: TaskTracker::new(), shutdown }
    }

    /// Forgets addresses that have been quiet, so that the limiter's memory is bounded. To be called now and then.
    pub fn forget_quiet_addresses(&self) {
        self.per_address.retain_recent();
        self.per_address.shrink_to_fit();
    }

    /// Waits until every session has ended.
    pub async fn closed(&self) {
        self.sessions.close();
        self.sessions.wait().await;
    }

    fn refusal(&self, headers: &HeaderMap, address: IpAddr) -> Option<Problem> {
        if self.shutdown.is_cancelled() {
            return Some(Problem::new(Code::Unavailable).detail("the server is shutting down"));
        }
        if !origin_is_allowed(headers, &self.gateway.limits.allowed_origins) {
            return Some(Problem::new(Code::ForbiddenOrigin));
        }
        if self.per_address.check_key(&neighbourhood(address)).is_err() {
            metrics::counter!("panicbuy_limits_hit_total", "limit" => "handshakes_per_address").increment(1);
            return Some(Problem::new(Code::RateLimited));
        }
        None
    }
}

/// `GET /ws`.
pub async fn upgrade(
    State(door): State<Arc<Door>>,
    Extension(connection): Extension<ConnectionPermit>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let address = client_address(&headers, peer.ip(), door.gateway.limits.trust_forwarded_for);
    if let Some(problem) = door.refusal(&headers, address) {
        return problem.into_response();
    }
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade,
        Err(rejection) => {
            return Problem::new(Code::NotAHandshake).detail(rejection.body_text()).into_response();
        }
    };
    let Some(permit) = door.gateway.registry.admit(door.gateway.limits.max_sockets) else {
        metrics::counter!("panicbuy_limits_hit_total", "limit" => "sockets").increment(1);
        let full = Problem::new(Code::Unavailable).detail("the server holds as many sockets as it may");
        return full.into_response();
    };
    let session_of = Arc::clone(&door);
    upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(MAX_MESSAGE)
        .max_frame_size(MAX_MESSAGE)
        .on_upgrade(async move |socket| {
            let held = (session_of.sessions.token(), permit, connection);
            let (gateway, shutdown) = (Arc::clone(&session_of.gateway), session_of.shutdown.clone());
            // A task of its own: the one of the upgrade would keep room for all that it did before.
            tokio::spawn(session::run(wire(socket), gateway, shutdown, held));
        })
}

/// axum's socket as a session's wire.
fn wire(socket: WebSocket) -> impl session::Wire {
    let socket = socket.map(|message| message.map_err(axum::Error::into_inner));
    socket.sink_map_err(axum::Error::into_inner as fn(axum::Error) -> BoxError).with(ready_message)
}

fn ready_message(message: Message) -> std::future::Ready<Result<Message, BoxError>> {
    std::future::ready(Ok(message))
}

fn client_address(headers: &HeaderMap, peer: IpAddr, trust_forwarded_for: bool) -> IpAddr {
    let forwarded = || {
        let last = headers.get_all("x-forwarded-for").iter().next_back()?;
        last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
    };
    if trust_forwarded_for { forwarded().unwrap_or(peer) } else { peer }
}

/// What counts as one address: an IPv6 client has a whole /64 to itself.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(long) => IpAddr::V6(Ipv6Addr::from_bits(long.to_bits() & !u128::from(u64::MAX))),
    }
}

/// Programs send no `Origin`; a browser's must be the server's own or on the list.
fn origin_is_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let own = origin.split_once("://").is_some_and(|(_, authority)| Some(authority) == host);
    own || allowed.iter().any(|other| other.eq_ignore_ascii_case(origin))
}
