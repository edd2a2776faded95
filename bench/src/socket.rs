//! One socket, as lean as a load generator needs it: small buffers, and frames told apart without parsing them.
//!
//! Knows the subprotocol's form. What frames mean to a shopper is the shopper's business.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{TcpSocket, TcpStream, lookup_host},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        self, ClientRequestBuilder, Message, Utf8Bytes,
        http::Uri,
        protocol::{CloseFrame, WebSocketConfig},
    },
};

use crate::target::Gateway;

/// The subprotocol that the server must speak.
const SUBPROTOCOL: &str = "panicbuy.v1";
/// Bytes read at once. Frames are tiny, and there may be tens of thousands of sockets.
const READ_BUFFER: usize = 2048;
/// How long connecting and the handshake may take.
const CONNECTS_WITHIN: Duration = Duration::from_secs(20);
/// Loopback addresses that sockets come from: each has its own ephemeral ports, and a server's limits per address see many.
const SOURCES: u32 = 200;

/// A client's socket.
#[derive(Debug)]
pub struct Socket(WebSocketStream<TcpStream>);

/// What kind of frame the server sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Welcome,
    State,
    Queue,
    Stock,
    Accepted,
    Refused,
    Outcome,
    Error,
    Bye,
    Pong,
    /// One that the harness does not know; the contract allows new ones.
    Other,
}

impl Socket {
    /// Connects the n-th shopper and shakes hands. Nothing is said yet.
    pub async fn connect(gateway: &Gateway, shopper: usize) -> anyhow::Result<Self> {
        timeout(CONNECTS_WITHIN, Self::shake_hands(gateway, shopper))
            .await
            .context("connecting took too long")?
    }

    async fn shake_hands(gateway: &Gateway, shopper: usize) -> anyhow::Result<Self> {
        let address = lookup_host((gateway.host.trim_matches(['[', ']']), gateway.port)).await?.next();
        let address = address.with_context(|| format!("{} has no address", gateway.host))?;
        let stream =
            connect(address, shopper).await.with_context(|| format!("{address} cannot be reached"))?;
        stream.set_nodelay(true)?;
        let uri: Uri = gateway.ws().parse()?;
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
        let config = WebSocketConfig::default().read_buffer_size(READ_BUFFER).write_buffer_size(0);
        match client_async_with_config(request, stream, Some(config)).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::Error::Http(response)) => {
                bail!("the handshake is answered {}", response.status())
            }
            Err(error) => Err(error).context("the handshake failed"),
        }
    }

    /// Connects and says hello; returns the `welcome`.
    pub async fn enter(gateway: &Gateway, shopper: usize, token: &str) -> anyhow::Result<(Self, Utf8Bytes)> {
        let mut socket = Self::connect(gateway, shopper).await?;
        socket.say(hello(token)).await?;
        let welcome = timeout(CONNECTS_WITHIN, socket.hear()).await.context("no welcome")??;
        match kind(&welcome) {
            Kind::Welcome => Ok((socket, welcome)),
            _ => bail!("not a welcome: {welcome}"),
        }
    }

    /// Sends a frame.
    pub async fn say(&mut self, frame: impl Into<Utf8Bytes>) -> anyhow::Result<()> {
        self.0.send(Message::Text(frame.into())).await.context("the socket is lost")
    }

    /// The next frame. Answers pings on the way; safe to be given up and called again.
    pub async fn hear(&mut self) -> anyhow::Result<Utf8Bytes> {
        loop {
            match self.0.next().await.context("the socket has ended")?? {
                Message::Text(text) => return Ok(text),
                Message::Close(frame) => bail!("the server closed the socket: {}", why(frame)),
                _ => {}
            }
        }
    }

    /// Says goodbye without waiting for an answer.
    pub async fn leave(mut self) {
        // The other side may be gone already, and then there is nobody to say goodbye to.
        let _ = self.0.close(None).await;
    }
}

/// On loopback, sockets come from many addresses of this machine.
async fn connect(address: SocketAddr, shopper: usize) -> std::io::Result<TcpStream> {
    let SocketAddr::V4(loopback) = address else { return TcpStream::connect(address).await };
    if !loopback.ip().is_loopback() {
        return TcpStream::connect(address).await;
    }
    let socket = TcpSocket::new_v4()?;
    let number = u32::try_from(shopper).unwrap_or(0) % SOURCES;
    socket
        .bind(SocketAddr::from((Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + 0x100 + number), 0)))?;
    socket.connect(address).await
}

fn why(frame: Option<CloseFrame>) -> String {
    frame.map_or("no reason".to_owned(), |frame| format!("{} {}", frame.code, frame.reason))
}

/// The client's first frame.
pub fn hello(token: &str) -> String {
    format!(r#"{{"type":"hello","token":"{token}"}}"#)
}

/// A frame that names a promo: `join`, `leave`, `watch` or `unwatch`.
pub fn about(kind: &str, promo: i64) -> String {
    format!(r#"{{"type":"{kind}","promo_id":{promo}}}"#)
}

/// What kind of frame this is, by its `type`. The server writes it first; elsewhere it is found more slowly.
pub fn kind(frame: &str) -> Kind {
    let of =
        frame.strip_prefix(r#"{"type":""#).or_else(|| frame.split_once(r#""type":""#).map(|(_, rest)| rest));
    let name = of.and_then(|rest| rest.split_once('"')).map_or("", |(name, _)| name);
    match name {
        "welcome" => Kind::Welcome,
        "state" => Kind::State,
        "queue" => Kind::Queue,
        "stock" => Kind::Stock,
        "accepted" => Kind::Accepted,
        "refused" => Kind::Refused,
        "outcome" => Kind::Outcome,
        "error" => Kind::Error,
        "bye" => Kind::Bye,
        "pong" => Kind::Pong,
        _ => Kind::Other,
    }
}

/// The value of a field without parsing the rest: a number, or a string that holds no escapes, as ids and names do.
pub fn field<'a>(frame: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = frame;
    loop {
        let (_, after) = rest.split_once(name)?;
        if let Some(value) = after.strip_prefix("\":") {
            return Some(match value.strip_prefix('"') {
                Some(text) => text.split_once('"')?.0,
                None => value.split([',', '}', ']']).next()?.trim(),
            });
        }
        rest = after;
    }
}

/// A whole number in a field.
pub fn number(frame: &str, name: &str) -> Option<i64> {
    field(frame, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart_wherever_their_type_is() {
        assert_eq!(kind(r#"{"type":"accepted","order_id":"x"}"#), Kind::Accepted);
        assert_eq!(kind(r#"{"promo_id":3,"type":"queue"}"#), Kind::Queue);
        assert_eq!(kind(r#"{"type":"new"}"#), Kind::Other);
        assert_eq!(kind("{}"), Kind::Other);
    }

    #[test]
    fn fields_are_found_whole() {
        let frame = r#"{"type":"outcome","order_id":"0193-a","promo_id":12,"status":"awaiting_payment","price_minor":1999}"#;
        assert_eq!(field(frame, "order_id"), Some("0193-a"));
        assert_eq!(number(frame, "promo_id"), Some(12));
        assert_eq!(number(frame, "price_minor"), Some(1999));
        assert_eq!(field(frame, "status"), Some("awaiting_payment"));
        assert_eq!(field(frame, "reason"), None);
        // A name within a value is no field.
        assert_eq!(field(r#"{"type":"state","phase":"admitted","state":"x"}"#, "state"), Some("x"));
    }
}
