//! A client's socket that costs next to nothing while it waits: a file descriptor, and room for the beginning of a frame.
//!
//! For one thread that serves thousands of them from one poll, with one buffer that all of them read into. Knows the opening
//! handshake and frames; must not know what frames mean.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use mio::net::TcpStream;
use socket2::{Domain, SockRef, Socket, Type};

use super::frames::{self, Frame, NotAFrame};

/// The head of a server's answer to the handshake, at most.
const MAX_HEAD: usize = 8 * 1024;
/// Any key will do, since nobody caches these answers. This one is the standard's own example, and so is its answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Sockets from one loopback address: it has about 28,000 ports of its own, and a server's limits per address must not be what is
/// measured.
const SOCKETS_PER_ADDRESS: u32 = 250;

/// What ended a socket.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    #[error("the server closed it with {0:?}")]
    Closed(Option<u16>),
    #[error("the connection ended")]
    Ended,
    #[error("entering took too long")]
    TooSlow,
    #[error("the handshake was answered {0}")]
    Refused(String),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    NotAFrame(#[from] NotAFrame),
}

/// What a socket has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// The handshake is done.
    Upgraded,
    Text(&'a str),
}

/// One socket. Its connection may still be under way.
#[derive(Debug)]
pub struct Tiny {
    stream: TcpStream,
    state: State,
    /// What has come of something whose end has not.
    rest: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Connecting,
    HandshakeSent,
    Upgraded,
}

impl Tiny {
    /// Begins to connect. On loopback, from one of this machine's addresses that `number` picks.
    pub fn connect(target: SocketAddr, number: u32) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM.nonblocking(), None)?;
        socket.set_tcp_nodelay(true)?;
        if let (IpAddr::V4(address), true) = (target.ip(), target.ip().is_loopback()) {
            let source = source(address, number);
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(IN_PROGRESS) => return Err(error),
            _ => {}
        }
        let stream = TcpStream::from_std(socket.into());
        Ok(Self { stream, state: State::Connecting, rest: Vec::new() })
    }

    /// For the poll.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The connection can be written to: sends the handshake, if that is what is due. `protocol`: the subprotocol.
    pub fn writable(&mut self, target: SocketAddr, path: &str, protocol: Option<&str>) -> Result<(), Lost> {
        if self.state != State::Connecting {
            return Ok(());
        }
        if let Some(error) = self.stream.take_error()? {
            return Err(error.into());
        }
        // Who is not connected yet is told of again.
        if self.stream.peer_addr().is_err() {
            return Ok(());
        }
        self.state = State::HandshakeSent;
        self.write(handshake(target, path, protocol).as_bytes())
    }

    /// Something can be read: reads all of it into `scratch` and tells `hear` of it. Answers pings.
    pub fn readable(&mut self, scratch: &mut [u8], mut hear: impl FnMut(Heard<'_>)) -> Result<(), Lost> {
        loop {
            let kept = self.rest.len();
            scratch[..kept].copy_from_slice(&self.rest);
            let got = match self.stream.read(&mut scratch[kept..]) {
                Ok(0) => return Err(Lost::Ended),
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            let is_all = kept + got < scratch.len();
            let taken = self.take(&scratch[..kept + got], &mut hear)?;
            // A new one that fits, or none: a socket that waits keeps no room for what it had once.
            self.rest = scratch[taken..kept + got].to_vec();
            if is_all {
                return Ok(());
            }
        }
    }

    /// Sends a text frame.
    pub fn say(&mut self, text: &str) -> Result<(), Lost> {
        self.write(&frames::text(text))
    }

    /// Ends the connection as a lost network does: without a goodbye, and leaving no port behind that must rest.
    pub fn cut(self) {
        // If it cannot be cut it is closed.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    /// Takes what is whole; returns how many bytes that was.
    fn take(&mut self, bytes: &[u8], hear: &mut impl FnMut(Heard<'_>)) -> Result<usize, Lost> {
        let mut taken = 0;
        if self.state != State::Upgraded {
            let Some(length) = head_length(bytes)? else { return Ok(0) };
            self.state = State::Upgraded;
            taken = length;
            hear(Heard::Upgraded);
        }
        while let Some((frame, length)) = frames::first(&bytes[taken..])? {
            match frame {
                Frame::Text(text) => hear(Heard::Text(text)),
                Frame::Ping(payload) => self.write(&frames::pong(payload))?,
                Frame::Pong => {}
                Frame::Close(code) => return Err(Lost::Closed(code)),
            }
            taken += length;
        }
        Ok(taken)
    }

    /// What a client says is small and rare: if there is no room for it, nothing moves any more on this connection.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let written = self.stream.write(bytes)?;
        if written < bytes.len() {
            return Err(io::Error::from(ErrorKind::WriteZero).into());
        }
        Ok(())
    }
}

/// `EINPROGRESS` on Linux: the connection is under way.
const IN_PROGRESS: i32 = 115;

/// Another address of this machine for every few sockets, never that of the server.
fn source(target: Ipv4Addr, number: u32) -> Ipv4Addr {
    let [network, ..] = target.octets();
    let nth = number / SOCKETS_PER_ADDRESS % (200 * 250);
    let part = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
    Ipv4Addr::new(network, 10, part(nth / 250), part(nth % 250 + 1))
}

fn handshake(target: SocketAddr, path: &str, protocol: Option<&str>) -> String {
    let protocol =
        protocol.map_or(String::new(), |protocol| format!("Sec-WebSocket-Protocol: {protocol}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: {target}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {KEY}\r\n{protocol}\r\n"
    )
}

/// The length of the answer's head, if it is there; an error if it is not an upgrade.
fn head_length(bytes: &[u8]) -> Result<Option<usize>, Lost> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if bytes.len() > MAX_HEAD { Err(Lost::Refused("too much".to_owned())) } else { Ok(None) };
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    if head.starts_with("HTTP/1.1 101") && head.contains(ACCEPT) {
        return Ok(Some(end + 4));
    }
    Err(Lost::Refused(head.lines().next().unwrap_or_default().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_an_upgrade_or_an_error() {
        let answer =
            format!("HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {ACCEPT}\r\n\r\n\u{1}");
        assert_eq!(head_length(answer.as_bytes()).unwrap(), Some(answer.len() - 1));
        assert_eq!(head_length(&answer.as_bytes()[..20]).unwrap(), None);
        let refused = head_length(b"HTTP/1.1 503 Service Unavailable\r\n\r\n").unwrap_err();
        assert_eq!(refused.to_string(), "the handshake was answered HTTP/1.1 503 Service Unavailable");
        assert!(head_length(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").is_err());
    }

    #[test]
    fn sockets_come_from_many_addresses() {
        let from = |number| source(Ipv4Addr::LOCALHOST, number).to_string();
        assert_eq!(from(0), "127.10.0.1");
        assert_eq!(from(249), "127.10.0.1");
        assert_eq!(from(250), "127.10.0.2");
        assert_eq!(from(250 * 250), "127.10.1.1");
    }
}
