//! Hot reads in Redis.
//!
//! Every answer carries the generation that was current before the database was asked; a change begins a new generation, so old
//! answers are never read again, whoever still writes one. Generations are random names, not numbers: a Redis that was emptied cannot
//! come back to one that was used. All keys have one hash tag, so that one script sees them together in a cluster: there are few
//! questions, and each node asks each of them about once per life of its own memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fred::{
    clients::SubscriberClient,
    interfaces::{ClientLike, EventInterface, PubsubInterface},
    types::Value,
};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{HotReads, Look, Ticket};
use crate::{
    random,
    redis::{ConnectError, Redis, RedisError, Script},
};

static LOOK: Script = Script::new("look", &[include_str!("look.lua")]);
static KEEP: Script = Script::new("keep", &[include_str!("keep.lua")]);
static FORGET: Script = Script::new("forget", &[include_str!("forget.lua")]);

/// Answers longer than this are not shared, in bytes: they would hold up whatever else Redis does.
const MAX_ANSWER: usize = 1 << 20;

/// The hash tag of everything here.
const TAG: &str = "catalog";

/// The bounds of sharing.
#[derive(Clone, Debug)]
pub struct HotSettings {
    /// How long an answer is shared. So old may one be at most that another node changed and could not make forgotten, because
    /// it died in that moment or cannot reach Redis.
    pub life: Duration,
    /// How long one look or one keeping may take.
    pub timeout: Duration,
    /// How long Redis is left alone after it has failed.
    pub rest: Duration,
    /// How long one node may take to ask the database before another does too.
    pub lease: Duration,
    /// How long a node waits for another's answer.
    pub wait: Duration,
    /// How often it is looked whether the other's answer has come.
    pub poll: Duration,
    /// How often the subscription is renewed, so that one that died in silence is noticed.
    pub renew: Duration,
}

impl Default for HotSettings {
    fn default() -> Self {
        Self {
            life: Duration::from_secs(30),
            timeout: Duration::from_millis(250),
            rest: Duration::from_secs(1),
            lease: Duration::from_secs(2),
            wait: Duration::from_millis(500),
            poll: Duration::from_millis(10),
            renew: Duration::from_secs(5),
        }
    }
}

/// Answers shared through Redis.
pub struct RedisHotReads {
    shared: Arc<Shared>,
    _stop_on_drop: DropGuard,
}

struct Shared {
    redis: Redis,
    settings: HotSettings,
    channel: String,
    heard: AtomicU64,
    /// Changes here that Redis does not know of yet.
    owed: AtomicU64,
    breaker: Breaker,
    stop: CancellationToken,
}

impl RedisHotReads {
    /// Subscribes to other nodes' changes, and keeps listening until this value is dropped.
    pub async fn connect(redis: &Redis, settings: HotSettings) -> Result<Self, ConnectError> {
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let client = redis.subscriber().await?;
        let breaker = Breaker::new(settings.rest);
        let shared = Arc::new(Shared {
            channel: format!("{}catalog", redis.prefix()),
            redis: redis.clone(),
            settings,
            heard: AtomicU64::new(0),
            owed: AtomicU64::new(0),
            breaker,
            stop: stop.clone(),
        });
        let listening = listen(Arc::clone(&shared), client);
        tokio::spawn(async move { stop.run_until_cancelled(listening).await });
        Ok(Self { shared, _stop_on_drop: guard })
    }
}

#[async_trait]
impl HotReads for RedisHotReads {
    async fn look(&self, question: &str) -> Look {
        let shared = &self.shared;
        let caller = random::uuid().simple().to_string();
        let until = Instant::now() + shared.settings.wait;
        while shared.owed.load(Ordering::Acquire) == 0 {
            let Some(answer) = shared.look(question, &caller).await else { break };
            match answer {
                Looked::Found(text) => return Look::Found(text),
                Looked::SomebodyAsks(_) if Instant::now() + shared.settings.poll < until => {
                    tokio::time::sleep(shared.settings.poll).await;
                }
                Looked::Ask(generation) | Looked::SomebodyAsks(generation) => {
                    return Look::Load(Ticket { question: question.to_owned(), generation });
                }
            }
        }
        Look::Skip
    }

    async fn keep(&self, ticket: Ticket, answer: Option<String>) {
        let shared = &self.shared;
        if shared.owed.load(Ordering::Acquire) > 0 {
            return;
        }
        let answer = answer.filter(|answer| answer.len() <= MAX_ANSWER);
        let life = if answer.is_some() { Shared::millis(shared.settings.life) } else { Value::from(0) };
        let args = vec![ticket.generation.into(), answer.unwrap_or_default().into(), life];
        shared.run(&KEEP, shared.keys(&ticket.question), args).await;
    }

    fn forget_all(&self) {
        self.shared.owed.fetch_add(1, Ordering::AcqRel);
        tokio::spawn(Arc::clone(&self.shared).forget());
    }

    fn heard(&self) -> u64 {
        self.shared.heard.load(Ordering::Acquire)
    }
}

/// What Redis knows of a question, under which generation.
enum Looked {
    Found(String),
    Ask(String),
    SomebodyAsks(String),
}

impl Shared {
    async fn look(&self, question: &str, caller: &str) -> Option<Looked> {
        let fresh = random::uuid().simple().to_string();
        let args = vec![fresh.into(), caller.into(), Self::millis(self.settings.lease)];
        let answer = self.run(&LOOK, self.keys(question), args).await?;
        match answer.convert::<(String, Option<String>, u8)>() {
            Ok((_, Some(text), _)) => Some(Looked::Found(text)),
            Ok((generation, None, 1)) => Some(Looked::Ask(generation)),
            Ok((generation, None, _)) => Some(Looked::SomebodyAsks(generation)),
            Err(error) => {
                tracing::error!(%error, "a shared answer has a form that is not known here");
                None
            }
        }
    }

    /// Runs a script unless Redis is being left alone. `None`: it has failed, or would.
    async fn run(&self, script: &Script, keys: Vec<String>, args: Vec<Value>) -> Option<Value> {
        if !self.breaker.allows() {
            return None;
        }
        let run = tokio::time::timeout(self.settings.timeout, self.redis.run(script, keys, args));
        let answer = run.await.unwrap_or(Err(RedisError::TimedOut));
        self.breaker.note(answer.is_ok());
        match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                metrics::counter!("panicbuy_hot_read_failures_total").increment(1);
                tracing::debug!(script = script.name(), %error, "shared answers are left out for a moment");
                None
            }
        }
    }

    /// Begins a new generation, however often it takes.
    async fn forget(self: Arc<Self>) {
        let keys = vec![self.redis.key(TAG, "generation")];
        loop {
            let fresh = random::uuid().simple().to_string();
            let args = vec![fresh.into(), self.channel.as_str().into(), self.redis.node().into()];
            // Past the breaker: nobody waits for it, and until it has succeeded nobody else asks Redis here either.
            match self.redis.run(&FORGET, keys.clone(), args).await {
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(%error, "other nodes could not be told of a change; it is tried again");
                }
            }
            if self.stop.run_until_cancelled(tokio::time::sleep(self.settings.rest)).await.is_none() {
                return;
            }
        }
        self.owed.fetch_sub(1, Ordering::AcqRel);
    }

    fn keys(&self, question: &str) -> Vec<String> {
        ["generation".to_owned(), format!("answer:{question}"), format!("lease:{question}")]
            .map(|name| self.redis.key(TAG, &name))
            .to_vec()
    }

    fn millis(duration: Duration) -> Value {
        i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).max(1).into()
    }

    fn note_change(&self) {
        self.heard.fetch_add(1, Ordering::AcqRel);
    }
}

/// Counts other nodes' changes. What is lost here costs freshness for the life of a node's own memory, not more: the next
/// look sees the new generation.
async fn listen(shared: Arc<Shared>, client: SubscriberClient) {
    let (mut messages, mut reconnects) = (client.message_rx(), client.reconnect_rx());
    let mut renewals = tokio::time::interval(shared.settings.renew);
    renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                // A change of its own has been noted already.
                Ok(message) if message.value.as_str().as_deref() == Some(shared.redis.node()) => {}
                Ok(_) | Err(RecvError::Lagged(_)) => shared.note_change(),
                Err(RecvError::Closed) => messages = client.message_rx(),
            },
            reconnected = reconnects.recv() => {
                if matches!(reconnected, Err(RecvError::Closed)) {
                    reconnects = client.reconnect_rx();
                }
                subscribe(&shared, &client).await;
                shared.note_change();
            },
            // Subscribing twice changes nothing, but a dead connection does not answer it.
            _ = renewals.tick() => if !subscribe(&shared, &client).await {
                let bound = shared.redis.settings().command_timeout;
                let _ = tokio::time::timeout(bound, client.force_reconnection()).await;
            },
        }
    }
}

async fn subscribe(shared: &Shared, client: &SubscriberClient) -> bool {
    let subscribed = client.subscribe(shared.channel.as_str()).await;
    if let Err(error) = &subscribed {
        tracing::debug!(%error, "other nodes' changes could not be subscribed to; it is tried again");
    }
    subscribed.is_ok()
}

/// Keeps readers from waiting for a Redis that does not answer: after a failure it is left alone, and then one tries for all.
struct Breaker {
    rest: Duration,
    born: Instant,
    /// When Redis may be asked again, in milliseconds since `born`; 0 while it is well.
    closed_until: AtomicU64,
}

impl Breaker {
    fn new(rest: Duration) -> Self {
        Self { rest, born: Instant::now(), closed_until: AtomicU64::new(0) }
    }

    fn allows(&self) -> bool {
        let until = self.closed_until.load(Ordering::Acquire);
        // Whoever moves the end of the rest is the one who tries.
        until == 0
            || (self.now() >= until
                && self
                    .closed_until
                    .compare_exchange(until, self.after_rest(), Ordering::AcqRel, Ordering::Acquire)
                    .is_ok())
    }

    fn note(&self, well: bool) {
        self.closed_until.store(if well { 0 } else { self.after_rest() }, Ordering::Release);
    }

    fn after_rest(&self) -> u64 {
        self.now() + u64::try_from(self.rest.as_millis()).unwrap_or(u64::MAX / 2).max(1)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX / 2)
    }
}
