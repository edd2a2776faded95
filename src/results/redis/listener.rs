//! The one task of a process that listens to Redis, puts each pool's news in order, and repairs what was lost.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use fred::{
    clients::SubscriberClient,
    interfaces::{ClientLike, EventInterface, PubsubInterface, StreamsInterface},
    types::{Message, config::Server},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, Interval, MissedTickBehavior},
};

use super::{
    Followed, News, RedisResultsSettings,
    position::{Mark, Position, Step},
    wire::Entry,
};
use crate::{
    domain::PoolId,
    redis::{ConnectError, Redis, RedisError},
};

/// Streams looked at at the same time.
const CONCURRENT_PROBES: usize = 16;
/// Probes in a row that the subscription may swallow before its connection is made anew.
const MAX_UNHEARD: u32 = 1;

/// The listener and all it has heard.
pub struct Listener {
    redis: Redis,
    settings: RedisResultsSettings,
    client: SubscriberClient,
    messages: broadcast::Receiver<Message>,
    reconnects: broadcast::Receiver<Server>,
    sender: broadcast::Sender<News>,
    followed: Arc<Followed>,
    hears: Arc<AtomicBool>,
    /// Up to where each pool's news has been delivered.
    heard: HashMap<PoolId, Mark>,
    news: String,
    echo: Echo,
    /// The connection was made anew, and does not listen yet.
    deaf: bool,
    /// Where the next round of probes begins among the followed pools.
    turn: usize,
    /// In this turn of the loop subscribers were told already to read everything again.
    said_missed: bool,
}

/// Messages to oneself, by which a subscription that died in silence is noticed.
struct Echo {
    channel: String,
    sent: u64,
    heard: u64,
    unheard: u32,
}

impl Listener {
    /// A listener that is subscribed already.
    pub async fn connect(
        redis: Redis,
        settings: RedisResultsSettings,
        sender: broadcast::Sender<News>,
        followed: Arc<Followed>,
        hears: Arc<AtomicBool>,
    ) -> Result<Self, ConnectError> {
        let client = redis.subscriber().await?;
        let channel = format!("{}echo:{}", redis.prefix(), redis.node());
        let mut listener = Self {
            messages: client.message_rx(),
            reconnects: client.reconnect_rx(),
            client,
            settings,
            sender,
            followed,
            hears,
            heard: HashMap::new(),
            news: format!("{}news", redis.prefix()),
            echo: Echo { channel, sent: 0, heard: 0, unheard: 0 },
            deaf: true,
            turn: 0,
            said_missed: false,
            redis,
        };
        let wait = listener.redis.settings().start_wait;
        let until = Instant::now() + wait;
        loop {
            listener.subscribe().await;
            if !listener.deaf {
                listener.hears.store(true, Ordering::Release);
                return Ok(listener);
            }
            if Instant::now() >= until {
                let (waited_ms, cause) = (wait.as_millis(), "the news cannot be subscribed to".to_owned());
                return Err(ConnectError::NoAnswer { waited_ms, cause });
            }
            tokio::time::sleep(listener.redis.settings().reconnect_min).await;
        }
    }

    /// Listens for ever.
    pub async fn run(mut self) {
        let mut probes = every(self.settings.probe_every);
        let followed = Arc::clone(&self.followed);
        loop {
            self.said_missed = false;
            tokio::select! {
                message = self.messages.recv() => match message {
                    Ok(message) => self.hear(&message).await,
                    Err(RecvError::Lagged(lost)) => {
                        tracing::warn!(lost, "news came faster than it was read; the rest is read from the streams");
                        self.repair_all().await;
                    }
                    Err(RecvError::Closed) => self.messages = self.client.message_rx(),
                },
                reconnected = self.reconnects.recv() => {
                    if matches!(reconnected, Err(RecvError::Closed)) {
                        self.reconnects = self.client.reconnect_rx();
                    }
                    self.deaf = true;
                    self.resume().await;
                },
                () = followed.added() => self.follow_new().await,
                _ = probes.tick() => self.probe().await,
            }
        }
    }

    /// Subscribes on the present connection.
    async fn subscribe(&mut self) {
        let channels = vec![self.news.clone(), self.echo.channel.clone()];
        match self.client.subscribe(channels).await {
            Ok(()) => self.deaf = false,
            Err(error) => tracing::warn!(%error, "the news could not be subscribed to; it is tried again"),
        }
    }

    /// Subscribes again, and catches up on what was published meanwhile. In this order, so that nothing falls between.
    async fn resume(&mut self) {
        self.subscribe().await;
        if !self.deaf {
            self.repair_all().await;
        }
    }

    async fn hear(&mut self, message: &Message) {
        let Some(text) = message.value.as_bytes() else { return };
        if *message.channel == *self.echo.channel {
            let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
            self.echo.heard = number.unwrap_or(self.echo.heard).max(self.echo.heard);
            self.hears.store(true, Ordering::Release);
            return;
        }
        match Entry::parse(text) {
            Ok(entry) => self.take(entry).await,
            Err(error) => {
                tracing::error!(%error, "news of a form that is not known here");
                self.missed();
            }
        }
    }

    /// Delivers an entry that has just been published, after what is missing before it.
    async fn take(&mut self, entry: Entry) {
        self.followed.follow(entry.pool);
        let Some(heard) = self.heard.get(&entry.pool).copied() else {
            // First sight: whoever is connected here has read the state at connecting.
            return self.deliver(entry);
        };
        if heard.step(entry.position()) == Step::Gap {
            metrics::counter!("panicbuy_news_gaps_total").increment(1);
            if let Err(error) = self.repair(entry.pool).await {
                // The entry itself is in the stream too, so the next probe brings it, and in order.
                tracing::warn!(pool = %entry.pool, %error, "lost news could not be read; it is tried again");
                return;
            }
        }
        self.deliver_from(self.heard.get(&entry.pool).copied().unwrap_or(heard), entry);
    }

    /// Delivers an entry to those who have heard up to `heard`, if it is new to them.
    fn deliver_from(&mut self, heard: Mark, entry: Entry) {
        match heard.step(entry.position()) {
            Step::Old => return,
            Step::Next if entry.rebuilt && heard.position() != Position::START => self.missed(),
            Step::Next => {}
            Step::Gap | Step::Rebuilt => self.missed(),
        }
        self.deliver(entry);
    }

    fn deliver(&mut self, entry: Entry) {
        if self.followed.started(entry.pool) {
            self.heard.insert(entry.pool, Mark::At(entry.position()));
        }
        if entry.by != self.redis.node() && !entry.events.is_empty() {
            // An error only means that nobody listens.
            let _ = self.sender.send(News::Events(entry.events.into()));
        }
    }

    /// Tells subscribers to read everything again, once for all pools of which something was lost at the same time.
    fn missed(&mut self) {
        if !self.said_missed {
            self.said_missed = true;
            let _ = self.sender.send(News::Missed);
        }
    }

    /// Looks whether the subscription is alive, and whether the streams hold something that was not heard.
    async fn probe(&mut self) {
        self.probe_subscription().await;
        if self.deaf {
            self.resume().await;
        }
        self.follow_new().await;
        let mut pools = self.followed.pools(self.settings.idle);
        let left: HashSet<_> = pools.iter().copied().collect();
        self.heard.retain(|pool, _| left.contains(pool));
        pools.retain(|pool| self.heard.contains_key(pool));
        if pools.len() > self.settings.pools_per_probe {
            pools.sort_unstable();
            let from = self.turn % pools.len();
            pools.rotate_left(from);
            pools.truncate(self.settings.pools_per_probe);
            self.turn = from + pools.len();
        }
        self.compare(pools).await;
    }

    /// Sends a message to itself. One that has not come back until the next time means that the subscription is dead, whatever
    /// the connection says.
    async fn probe_subscription(&mut self) {
        let unheard = self.echo.heard < self.echo.sent;
        let number = self.echo.sent + 1;
        if let Err(error) = self.redis.publish(&self.echo.channel, number.to_string()).await {
            // Says nothing about the subscription: the connection for commands heals by itself.
            tracing::debug!(%error, "the subscription could not be probed");
            return self.hears.store(false, Ordering::Release);
        }
        self.echo.sent = number;
        self.echo.unheard = if unheard { self.echo.unheard + 1 } else { 0 };
        if unheard {
            self.hears.store(false, Ordering::Release);
        }
        if self.echo.unheard > MAX_UNHEARD {
            tracing::warn!("the subscription does not hear what is published; it is made anew");
            metrics::counter!("panicbuy_deaf_subscriptions_total").increment(1);
            self.echo.unheard = 0;
            self.deaf = true;
            let bound = self.redis.settings().command_timeout;
            match tokio::time::timeout(bound, self.client.force_reconnection()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the connection for news could not be made anew yet");
                }
                Err(_) => tracing::warn!("the connection for news could not be made anew yet"),
            }
        }
    }

    /// Repairs those of the pools whose stream is not where it was last heard.
    async fn compare(&mut self, pools: Vec<PoolId>) {
        let redis = &self.redis;
        let latest = stream::iter(pools)
            .map(async |pool| Ok::<_, RedisError>((pool, latest(redis, pool).await?)))
            .buffer_unordered(CONCURRENT_PROBES)
            .try_collect::<Vec<_>>();
        let latest = match latest.await {
            Ok(latest) => latest,
            Err(error) => return tracing::debug!(%error, "the streams could not be probed"),
        };
        for (pool, latest) in latest {
            // A stream that is gone comes back under a new epoch; until then there is nothing to hear.
            let (Some(latest), Some(heard)) = (latest, self.heard.get(&pool).copied()) else { continue };
            let heard = heard.position();
            if latest < heard {
                tracing::warn!(%pool, %heard, %latest, "Redis has lost news that was delivered here");
                self.heard.insert(pool, Mark::At(latest));
                self.missed();
            } else if latest > heard {
                self.repair_or_say(pool).await;
            }
        }
    }

    async fn repair_all(&mut self) {
        for pool in self.heard.keys().copied().collect::<Vec<_>>() {
            if !self.repair_or_say(pool).await {
                return;
            }
        }
    }

    /// Whether it worked. If not, the next probe tries again.
    async fn repair_or_say(&mut self, pool: PoolId) -> bool {
        let repaired = self.repair(pool).await;
        if let Err(error) = &repaired {
            tracing::warn!(%pool, %error, "lost news could not be read; it is tried again");
        }
        repaired.is_ok()
    }

    /// Delivers what the pool's stream holds after what was heard.
    async fn repair(&mut self, pool: PoolId) -> Result<(), RedisError> {
        let Some(from) = self.heard.get(&pool).copied() else { return Ok(()) };
        let (key, page) = (self.redis.key(pool, "events"), self.settings.page.max(1));
        let mut at = from;
        for _ in 0..self.settings.max_repair.div_ceil(page) {
            let entries: Vec<(String, HashMap<String, String>)> = self
                .redis
                .commands()
                .xrange_values(&key, at.position().next().to_string(), "+", Some(page))
                .await?;
            let last = u64::try_from(entries.len()).unwrap_or(u64::MAX) < page;
            for (id, fields) in entries {
                let Ok(position) = id.parse::<Position>() else {
                    return Err(RedisError::Unexpected(format!("the stream id {id}")));
                };
                let entry = fields.get("e").map(|text| Entry::parse(text.as_bytes()));
                if let Some(Ok(entry)) = entry {
                    self.deliver_from(at, entry);
                } else {
                    tracing::error!(%pool, %id, "news of a form that is not known here");
                    self.missed();
                    self.heard.insert(pool, Mark::At(position));
                }
                at = Mark::At(position);
            }
            if last {
                return Ok(());
            }
        }
        if let Some(latest) = latest(&self.redis, pool).await? {
            self.heard.insert(pool, Mark::At(latest));
        }
        self.missed();
        Ok(())
    }

    /// Starts following pools that this process began to act on: from the end of their streams.
    async fn follow_new(&mut self) {
        for pool in self.followed.new_ones() {
            match latest(&self.redis, pool).await {
                Ok(latest) => {
                    self.heard.insert(pool, Mark::From(latest.unwrap_or(Position::START)));
                    self.followed.started(pool);
                }
                // The next probe tries again.
                Err(error) => return tracing::debug!(%pool, %error, "a stream could not be looked at"),
            }
        }
    }
}

/// The position of the last entry of the pool's stream; `None` if there is no stream.
async fn latest(redis: &Redis, pool: PoolId) -> Result<Option<Position>, RedisError> {
    let entries: Vec<(String, HashMap<String, String>)> =
        redis.commands().xrevrange_values(redis.key(pool, "events"), "+", "-", Some(1)).await?;
    let Some((id, _)) = entries.into_iter().next() else { return Ok(None) };
    id.parse().map(Some).map_err(|_| RedisError::Unexpected(format!("the stream id {id}")))
}

fn every(period: std::time::Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
