//! A few more shoppers: one holds the only pass, so that the line stands, the others join and leave, so that there is news.
//!
//! They have a socket only while they do something; pass and places stay with them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Utf8Bytes;

use crate::{
    socket::{self, Kind, Socket},
    target::Target,
};

/// How many there are.
pub const ACTORS: usize = 1 + MOVERS;
/// Those who join and leave.
const MOVERS: usize = 4;
/// How long the server may take to answer one of them.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);

/// Those who join and leave.
pub struct Actors {
    target: Target,
    promo: i64,
    movers: Vec<Mover>,
    /// Whose turn it is.
    turn: usize,
}

struct Mover {
    token: String,
    is_in_line: bool,
}

/// A mover who is about to join or leave.
pub struct Change {
    socket: Socket,
    joins: bool,
    /// How many will be waiting then.
    pub waiting: i64,
}

impl Actors {
    /// The first of them gets the pass.
    pub async fn enter(target: &Target, promo: i64, mut tokens: Vec<String>) -> anyhow::Result<Self> {
        ensure!(tokens.len() == ACTORS, "there are {ACTORS} actors");
        let (mut holder, _) = Socket::enter(target.of(0), 0, &tokens.swap_remove(0)).await?;
        holder.say(socket::about("join", promo)).await?;
        until_phase(&mut holder, "admitted").await.context("nobody got a pass")?;
        holder.leave().await;
        let movers = tokens.into_iter().map(|token| Mover { token, is_in_line: false }).collect();
        Ok(Self { target: target.clone(), promo, movers, turn: 0 })
    }

    /// The next in turn comes and looks around. All in turn join, then all in turn leave.
    pub async fn next_change(&self) -> anyhow::Result<Change> {
        let mover = &self.movers[self.turn];
        let (mut socket, _) = Socket::enter(self.target.of(self.turn), self.turn, &mover.token).await?;
        socket.say(socket::about("watch", self.promo)).await?;
        let queue = until(&mut socket, |frame| socket::kind(frame) == Kind::Queue).await?;
        let waiting = socket::number(&queue, "waiting").context("a queue frame says how many wait")?;
        let joins = !mover.is_in_line;
        Ok(Change { socket, joins, waiting: if joins { waiting + 1 } else { waiting - 1 } })
    }

    /// Makes the change; returns the moment before it was sent, in microseconds since the Unix epoch.
    pub async fn make(&mut self, change: Change) -> anyhow::Result<u64> {
        let Change { mut socket, joins, .. } = change;
        let (verb, phase) = if joins { ("join", "queued") } else { ("leave", "none") };
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        socket.say(socket::about(verb, self.promo)).await?;
        until_phase(&mut socket, phase).await.with_context(|| format!("a {verb} was not answered"))?;
        socket.leave().await;
        self.movers[self.turn].is_in_line = joins;
        self.turn = (self.turn + 1) % self.movers.len();
        Ok(u64::try_from(now.as_micros())?)
    }
}

async fn until_phase(socket: &mut Socket, phase: &str) -> anyhow::Result<Utf8Bytes> {
    let is_it =
        |frame: &str| socket::kind(frame) == Kind::State && socket::field(frame, "phase") == Some(phase);
    until(socket, is_it).await
}

/// Hears frames until one is what is waited for.
async fn until(socket: &mut Socket, is_it: impl Fn(&str) -> bool) -> anyhow::Result<Utf8Bytes> {
    let hearing = async {
        loop {
            let frame = socket.hear().await?;
            if is_it(&frame) {
                return Ok(frame);
            }
            if socket::kind(&frame) == Kind::Error {
                bail!("the server answered {frame}");
            }
        }
    };
    timeout(ANSWERS_WITHIN, hearing).await.context("the server does not answer")?
}
