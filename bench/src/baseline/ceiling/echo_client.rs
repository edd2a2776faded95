//! The clients of the echo: one thread, one poll, thousands of sockets.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::ensure;
use mio::{Events, Interest, Poll, Token};

use crate::{
    baseline::timing::{Pace, per_second},
    latency::Latencies,
    process::{self, Usage},
    scenario::crowd::{
        frames::MAX_PAYLOAD,
        tiny::{Heard, Tiny},
    },
};

/// As long as an order is.
pub const FRAME: &str =
    r#"{"type":"order","request_id":"0c8f1a56-5e0b-4f4e-9a0e-6d1f0d0b7c11","promo_id":17,"quantity":1}"#;
/// How long all sockets may take to open.
const OPEN_WITHIN: Duration = Duration::from_mins(1);
/// Connections that are begun at once: the server has to accept them.
const CONNECT_AT_ONCE: usize = 64;
/// How long one look at the sockets waits.
const LOOK: Duration = Duration::from_millis(20);

/// What one repeat came to.
pub struct Echoed {
    pub per_s: f64,
    pub latencies: Latencies,
    /// What the server used when counting began and when it ended.
    pub before: Usage,
    pub after: Usage,
    pub elapsed: Duration,
    /// Cores that these clients kept busy meanwhile.
    pub client_cores: f64,
    /// Sockets that did not live to the end.
    pub lost: usize,
}

struct Client {
    socket: Tiny,
    sent: Instant,
    is_open: bool,
}

/// All sockets and what they have counted.
struct Clients {
    poll: Poll,
    scratch: Vec<u8>,
    target: SocketAddr,
    sockets: Vec<Option<Client>>,
    open: usize,
    lost: usize,
    came_back: u64,
    latencies: Latencies,
}

/// Opens so many sockets and lets each send frame after frame. `usage` reads what the server uses.
pub fn run(
    target: SocketAddr,
    sockets: u32,
    pace: Pace,
    usage: impl Fn() -> anyhow::Result<Usage>,
) -> anyhow::Result<Echoed> {
    let mut all = Clients::new(target)?;
    all.open(sockets)?;
    all.echo_for(pace.warm_up())?;
    (all.came_back, all.latencies) = (0, Latencies::new());
    let own = || process::usage(std::process::id());
    let (before, own_before, start) = (usage()?, own()?, Instant::now());
    all.echo_for(pace.duration())?;
    let elapsed = start.elapsed();
    Ok(Echoed {
        per_s: per_second(all.came_back, elapsed),
        latencies: all.latencies,
        before,
        after: usage()?,
        elapsed,
        client_cores: process::cores(own_before, own()?, elapsed),
        lost: all.lost,
    })
}

impl Clients {
    fn new(target: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self {
            poll: Poll::new()?,
            scratch: vec![0; 2 * MAX_PAYLOAD],
            target,
            sockets: Vec::new(),
            open: 0,
            lost: 0,
            came_back: 0,
            latencies: Latencies::new(),
        })
    }

    fn open(&mut self, sockets: u32) -> anyhow::Result<()> {
        let until = Instant::now() + OPEN_WITHIN;
        let mut number = 0;
        while self.open + self.lost < sockets as usize {
            while number < sockets && self.sockets.len() - self.open - self.lost < CONNECT_AT_ONCE {
                let mut socket = Tiny::connect(self.target, number)?;
                let interest = Interest::READABLE | Interest::WRITABLE;
                self.poll.registry().register(socket.stream(), Token(self.sockets.len()), interest)?;
                self.sockets.push(Some(Client { socket, sent: Instant::now(), is_open: false }));
                number += 1;
            }
            ensure!(Instant::now() < until, "only {} of {sockets} sockets are open", self.open);
            self.look()?;
        }
        Ok(())
    }

    fn echo_for(&mut self, duration: Duration) -> anyhow::Result<()> {
        let start = Instant::now();
        while start.elapsed() < duration {
            self.look()?;
        }
        Ok(())
    }

    fn look(&mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1024);
        match self.poll.poll(&mut events, Some(LOOK)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        for event in &events {
            let Token(nth) = event.token();
            let Some(client) = &mut self.sockets[nth] else { continue };
            let mut heard = 0;
            let mut done = Ok(());
            if event.is_writable() {
                done = client.socket.writable(self.target, "/ws", None);
            }
            if done.is_ok() && event.is_readable() {
                done = client.socket.readable(&mut self.scratch, |_: Heard<'_>| heard += 1);
            }
            // Each frame that came, and the handshake's end, is followed by the next frame.
            if done.is_ok() && heard > 0 {
                if client.is_open {
                    self.latencies.record(client.sent.elapsed());
                    self.came_back += heard;
                } else {
                    client.is_open = true;
                    self.open += 1;
                }
                client.sent = Instant::now();
                done = client.socket.say(FRAME);
            }
            if done.is_err() {
                self.open -= usize::from(client.is_open);
                self.lost += 1;
                self.sockets[nth] = None;
            }
        }
        Ok(())
    }
}
