//! A worker process: thousands of shoppers' sockets in one thread and one poll.
//!
//! Obeys its standard input and answers on its standard output. A library's socket for each shopper would cost several KiB and a
//! task; at 100,000 sockets on the machine under test that would be measured too, so the sockets are [`Tiny`] ones.

mod agenda;
mod hearing;
mod lines;
mod member;
mod task;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use anyhow::ensure;
use mio::{Events, Interest, Poll, Token, Waker, event::Event};
use rand::{Rng, SeedableRng, rngs::StdRng};

use self::{
    agenda::{Agenda, Errand},
    member::Member,
    task::{Goal, Task},
};
use super::{
    command::{Answer, Command, Tally},
    frames::MAX_PAYLOAD,
    shopper::{News, Subject},
    tiny::{Heard, Lost, Tiny},
};
use crate::socket;

/// Shoppers of one worker, at most: a process may open 20,000 files.
pub const MAX_SHOPPERS: usize = 19_500;
/// Where sockets are, and what is spoken there.
const PATH: &str = "/ws";
const PROTOCOL: &str = "panicbuy.v1";
/// The token of the standard input's bell; no shopper has it.
const BELL: Token = Token(usize::MAX);
/// Events taken from one poll.
const EVENTS: usize = 1024;
/// The longest wait of one poll.
const LOOK: Duration = Duration::from_millis(100);
/// Errands done between two polls: what was heard must not wait for all of them.
const ERRANDS_AT_ONCE: usize = 64;
/// Shoppers who may be waiting for an answer before others ask: gathering a crowd is not meant to be a storm, and a server
/// that is pressed answers nobody. A storm has no such bound.
const ASKING_AT_ONCE: usize = 64;
/// How long connecting, the handshake and the welcome may take before they are tried again.
const ENTERS_WITHIN: Duration = Duration::from_mins(1);
/// How often it is looked for those that took too long.
const SWEEP: Duration = Duration::from_secs(1);
/// Commands that may wait.
const COMMANDS: usize = 4;

struct Worker {
    poll: Poll,
    scratch: Vec<u8>,
    news: Vec<News>,
    members: Vec<Member>,
    targets: Vec<SocketAddr>,
    first: u32,
    /// How many storms there were: each moves everybody on to the next gateway.
    storms: usize,
    subject: Subject,
    agenda: Agenda,
    /// How many shoppers wait for an answer.
    asking: usize,
    task: Option<Task>,
    /// When each shopper heard the frame that everybody listens for.
    heard_us: Vec<u64>,
    tally: Tally,
    chance: StdRng,
    swept: Instant,
}

/// Obeys until the standard input ends.
pub fn run() -> anyhow::Result<()> {
    let poll = Poll::new()?;
    let (commands, incoming) = mpsc::sync_channel(COMMANDS);
    let bell = Arc::new(Waker::new(poll.registry(), BELL)?);
    std::thread::spawn(move || lines::listen(commands, &bell));
    let (mut worker, mut events) = (Worker::new(poll), Events::with_capacity(EVENTS));
    loop {
        match incoming.try_recv() {
            Ok(command) => worker.obey(command?)?,
            Err(mpsc::TryRecvError::Empty) => {}
            Err(mpsc::TryRecvError::Disconnected) => return Ok(()),
        }
        worker.turn(&mut events)?;
        if let Some(answer) = worker.answer() {
            lines::tell(&answer)?;
        }
    }
}

impl Worker {
    fn new(poll: Poll) -> Self {
        Self {
            poll,
            scratch: vec![0; 2 * MAX_PAYLOAD],
            news: Vec::new(),
            members: Vec::new(),
            targets: Vec::new(),
            first: 0,
            storms: 0,
            subject: Subject { promo: 0, waiting: None },
            agenda: Agenda::default(),
            asking: 0,
            task: None,
            heard_us: Vec::new(),
            tally: Tally::default(),
            chance: StdRng::seed_from_u64(0),
            swept: Instant::now(),
        }
    }

    fn obey(&mut self, command: Command) -> anyhow::Result<()> {
        ensure!(self.task.is_none(), "one command at a time");
        let (now, all) = (Instant::now(), self.members.len());
        self.members.iter_mut().for_each(|member| member.is_done = false);
        self.task = Some(match command {
            Command::Be { first, promo, targets, tokens } => {
                ensure!(
                    tokens.len() <= MAX_SHOPPERS && !targets.is_empty(),
                    "too many shoppers, or no gateway"
                );
                self.members = tokens.into_iter().map(|token| Member::new(token, now)).collect();
                self.chance = StdRng::seed_from_u64(u64::from(first));
                (self.first, self.targets, self.subject.promo) = (first, targets, promo);
                Task::nothing(now)
            }
            Command::Enter { per_s, within_ms } => {
                self.plan(Errand::Connect, per_s, now);
                Task::new(Goal::Welcome, all, now, within_ms)
            }
            Command::Join { per_s, within_ms } => {
                self.plan(Errand::Join, per_s, now);
                Task::new(Goal::Place, all, now, within_ms)
            }
            Command::Watch { per_s, within_ms } => {
                self.plan(Errand::Watch, per_s, now);
                Task::new(Goal::Watch, all, now, within_ms)
            }
            Command::Expect { waiting } => {
                self.subject.waiting = Some(waiting);
                self.heard_us.clear();
                self.members.iter_mut().for_each(|member| member.shopper.listen());
                Task::nothing(now)
            }
            Command::Collect { within_ms } => {
                let mut task = Task::new(Goal::Frame, all, now, within_ms);
                self.heard_us.drain(..).for_each(|moment| task.note(moment));
                task
            }
            Command::Storm { spread_ms, within_ms } => {
                self.cut_all(spread_ms, now);
                Task::new(Goal::Return, all, now, within_ms)
            }
        });
        Ok(())
    }

    /// The answer to the command that is being obeyed, if it is over.
    fn answer(&mut self) -> Option<Answer> {
        let task = self.task.take_if(|task| task.is_over(Instant::now()))?;
        let (moments_us, missing) = task.end();
        Some(Answer { moments_us, missing, tally: self.tally.clone() })
    }

    /// Everybody has the same errand, so many in each second.
    fn plan(&mut self, errand: Errand, per_s: f64, now: Instant) {
        let mut at = now;
        for (nth, member) in self.members.iter_mut().enumerate() {
            member.meant = at;
            self.agenda.put(at, nth, errand);
            at += Duration::from_secs_f64(1.0 / per_s.max(0.001));
        }
    }

    fn cut_all(&mut self, spread_ms: u64, now: Instant) {
        self.storms += 1;
        self.agenda.clear();
        self.asking = 0;
        for (nth, member) in self.members.iter_mut().enumerate() {
            if let Some(socket) = member.socket.take() {
                socket.cut();
            }
            (member.is_welcome, member.is_asking, member.failures, member.meant) = (false, false, 0, now);
            let after = Duration::from_millis(self.chance.random_range(0..=spread_ms));
            self.agenda.put(now + after, nth, Errand::Connect);
        }
    }

    /// Hears what there is to hear, and runs some errands.
    fn turn(&mut self, events: &mut Events) -> anyhow::Result<()> {
        let now = Instant::now();
        let mut wait = if self.may_ask() { self.agenda.next_in(now).unwrap_or(LOOK).min(LOOK) } else { LOOK };
        if let Some(task) = &self.task {
            wait = if task.is_over(now) { Duration::ZERO } else { wait.min(task.left(now)) };
        }
        match self.poll.poll(events, Some(wait)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => return Err(error.into()),
            _ => {}
        }
        events.iter().filter(|event| event.token() != BELL).for_each(|event| self.serve(event));
        let now = Instant::now();
        for _ in 0..ERRANDS_AT_ONCE {
            if !self.may_ask() {
                break;
            }
            match self.agenda.due(now) {
                Some((nth, Errand::Connect)) => self.connect(nth, now),
                Some((nth, Errand::Join)) => self.join(nth),
                Some((nth, Errand::Watch)) => self.watch(nth),
                None => break,
            }
        }
        if now >= self.swept + SWEEP {
            self.sweep(now);
        }
        Ok(())
    }

    fn may_ask(&self) -> bool {
        self.is_about(Goal::Return) || self.asking < ASKING_AT_ONCE
    }

    /// The shopper has asked for something, or has the answer.
    fn note_asking(&mut self, nth: usize, is_asking: bool) {
        let before = std::mem::replace(&mut self.members[nth].is_asking, is_asking);
        self.asking = self.asking + usize::from(is_asking) - usize::from(before);
    }

    fn target_of(&self, nth: usize) -> SocketAddr {
        self.targets[(self.first as usize + nth + self.storms) % self.targets.len()]
    }

    fn connect(&mut self, nth: usize, now: Instant) {
        if self.members[nth].socket.is_some() {
            return;
        }
        let number = self.first.saturating_add(u32::try_from(nth).unwrap_or(u32::MAX));
        let connected = Tiny::connect(self.target_of(nth), number).and_then(|mut socket| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(socket.stream(), Token(nth), interest)?;
            Ok(socket)
        });
        self.members[nth].entering_since = now;
        self.note_asking(nth, true);
        match connected {
            Ok(socket) => self.members[nth].socket = Some(socket),
            Err(error) => self.lose(nth, &error.into()),
        }
    }

    fn join(&mut self, nth: usize) {
        let member = &mut self.members[nth];
        member.shopper.wants_place = true;
        if member.is_welcome {
            self.note_asking(nth, true);
            self.say_about(nth, "join");
        }
    }

    fn watch(&mut self, nth: usize) {
        if self.members[nth].is_welcome {
            self.note_asking(nth, true);
            self.say_about(nth, "watch");
        }
    }

    /// Says something about the promo. Who has just lost the socket says it when it does not matter any more: on coming back
    /// everybody watches every promo in which they have a place.
    fn say_about(&mut self, nth: usize, verb: &str) {
        let frame = socket::about(verb, self.subject.promo);
        self.say(nth, &frame);
    }

    fn say(&mut self, nth: usize, frame: &str) {
        if let Some(socket) = &mut self.members[nth].socket
            && let Err(lost) = socket.say(frame)
        {
            self.lose(nth, &lost);
        }
    }

    /// A shopper's socket has something to say.
    fn serve(&mut self, event: &Event) {
        let Token(nth) = event.token();
        let (target, subject) = (self.target_of(nth), self.subject);
        let Member { socket, shopper, .. } = &mut self.members[nth];
        let Some(socket) = socket else { return };
        let mut served = Ok(());
        if event.is_writable() {
            served = socket.writable(target, PATH, Some(PROTOCOL));
        }
        let (mut is_upgraded, mut frames) = (false, 0);
        if served.is_ok() && event.is_readable() {
            let news = &mut self.news;
            served = socket.readable(&mut self.scratch, |heard| match heard {
                Heard::Upgraded => is_upgraded = true,
                Heard::Text(text) => {
                    frames += 1;
                    news.extend(shopper.hear(text, subject));
                }
            });
        }
        self.tally.frames += frames;
        let mut news = std::mem::take(&mut self.news);
        news.drain(..).for_each(|news| self.take_in(nth, news));
        self.news = news;
        if let Err(lost) = served {
            self.lose(nth, &lost);
        } else if is_upgraded {
            let hello = socket::hello(&self.members[nth].shopper.token);
            self.say(nth, &hello);
        }
    }

    /// The socket is gone; the shopper tries again after a pause.
    fn lose(&mut self, nth: usize, lost: &Lost) {
        self.note_asking(nth, false);
        let member = &mut self.members[nth];
        member.socket = None;
        let tally = if member.is_welcome { &mut self.tally.lost } else { &mut self.tally.failed };
        count(tally, lost.to_string());
        member.is_welcome = false;
        let pause = member.pause(&mut self.chance);
        member.failures = member.failures.saturating_add(1);
        self.agenda.put(Instant::now() + pause, nth, Errand::Connect);
    }

    fn sweep(&mut self, now: Instant) {
        self.swept = now;
        for nth in 0..self.members.len() {
            let member = &self.members[nth];
            if member.socket.is_some() && !member.is_welcome && now >= member.entering_since + ENTERS_WITHIN {
                self.lose(nth, &Lost::TooSlow);
            }
        }
    }
}

fn count(tally: &mut BTreeMap<String, u32>, what: String) {
    *tally.entry(what).or_default() += 1;
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
