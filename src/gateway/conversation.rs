//! What each frame of a client does: one socket's conversation, without the socket.

use std::{collections::HashSet, num::NonZeroU32, sync::Arc};

use axum::extract::ws::Utf8Bytes;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use crate::{
    clock,
    domain::{PromoId, Reason, RequestId, Standing, Timestamp, UserId},
    random,
    service::{
        order::{OrderService, Placed, Placing, Target, Wish},
        queue::{QueueError, QueueService, RoomNow},
        token::{TokenError, Tokens},
    },
};

use super::{
    close::{self, CloseReason},
    protocol::{ByeReason, ClientFrame, ErrorCode, OrderFrame, ServerFrame, Unreadable, WelcomeFrame},
    registry::{Registry, Socket, Told, TooManySockets},
    session,
};

/// What every conversation of this process shares.
pub struct Gateway {
    pub registry: Arc<Registry>,
    pub queue: Arc<QueueService>,
    pub orders: Arc<OrderService>,
    pub tokens: Arc<Tokens>,
    pub limits: GatewayLimits,
}

/// The bounds on one socket.
#[derive(Clone, Debug)]
pub struct GatewayLimits {
    pub heartbeat_ms: u64,
    pub hello_within_ms: u64,
    /// Frames per second, and as many at once.
    pub frames_per_s: NonZeroU32,
    /// Promos one socket may watch.
    pub max_watched: usize,
    /// How long writing one frame may take before the client counts as too slow.
    pub write_within_ms: u64,
    /// How long the closing handshake may take.
    pub close_within_ms: u64,
    /// The window over which clients are told to come back.
    pub reconnect_spread_ms: u64,
    /// Open sockets of this process.
    pub max_sockets: usize,
    /// Origins a browser may come from, besides the server's own.
    pub allowed_origins: Vec<String>,
    /// Take the client's address from the last entry of `X-Forwarded-For`.
    pub trust_forwarded_for: bool,
}

/// One socket's side of the conversation.
pub struct Conversation {
    gateway: Arc<Gateway>,
    socket: Arc<Socket>,
    frames: DefaultDirectRateLimiter,
    who: Who,
    watched: HashSet<PromoId>,
}

#[derive(Clone, Copy, Debug)]
enum Who {
    /// Has not said `hello`.
    Stranger,
    Visitor,
    Shopper {
        user_id: UserId,
        expires_at: Timestamp,
    },
}

/// What a frame leads to.
pub enum Answer {
    Frames(Vec<Utf8Bytes>),
    /// An order is under way; [`Conversation::answer_order`] turns its result into frames.
    Order(RequestId, Placing),
    /// The socket must close, after this frame if there is one.
    Close(CloseReason, Option<ServerFrame>),
}

impl Answer {
    fn frame(frame: &ServerFrame) -> Self {
        Self::Frames(vec![frame.to_text().into()])
    }
}

impl Conversation {
    pub fn new(gateway: Arc<Gateway>, socket: Arc<Socket>) -> Self {
        let frames = RateLimiter::direct(Quota::per_second(gateway.limits.frames_per_s));
        Self { gateway, socket, frames, who: Who::Stranger, watched: HashSet::new() }
    }

    /// Whether the client has not said `hello` yet.
    pub fn is_stranger(&self) -> bool {
        matches!(self.who, Who::Stranger)
    }

    /// When the shopper's token expires.
    pub fn expires_at(&self) -> Option<Timestamp> {
        match self.who {
            Who::Shopper { expires_at, .. } => Some(expires_at),
            Who::Stranger | Who::Visitor => None,
        }
    }

    /// Whether the client may send another frame (of any kind) now.
    pub fn within_frame_limit(&self) -> Result<(), Answer> {
        self.frames.check().map_err(|_| {
            metrics::counter!("panicbuy_limits_hit_total", "limit" => "frames_per_socket").increment(1);
            let spread = self.gateway.limits.reconnect_spread_ms;
            Answer::Close(close::RATE_LIMITED, Some(session::bye(ByeReason::RateLimited, spread)))
        })
    }

    /// Answers one text frame.
    pub async fn hear(&mut self, text: &str) -> Answer {
        let frame = ClientFrame::parse(text);
        match (self.who, frame) {
            (Who::Stranger, Ok(ClientFrame::Hello { token })) => self.hello(token).await,
            (Who::Stranger, _) | (_, Err(Unreadable::NotAnObject)) => {
                Answer::Close(close::PROTOCOL_VIOLATION, None)
            }
            (_, Err(Unreadable::NotAFrame { code, message, reference })) => {
                Answer::frame(&ServerFrame::error(code, message, reference))
            }
            (Who::Shopper { .. }, Err(Unreadable::BadOrder { request_id })) => refused(request_id),
            (Who::Visitor, Err(Unreadable::BadOrder { request_id })) => visitor(request_id.to_string()),
            (_, Ok(ClientFrame::Hello { .. })) => Answer::frame(&ServerFrame::error(
                ErrorCode::BadRequest,
                "hello is said once",
                Some("hello".to_owned()),
            )),
            (_, Ok(ClientFrame::Ping { nonce })) => Answer::frame(&ServerFrame::Pong { nonce }),
            (_, Ok(ClientFrame::Watch { promo_id })) => self.watch(promo_id).await,
            (_, Ok(ClientFrame::Unwatch { promo_id })) => {
                self.unwatch(promo_id);
                Answer::Frames(Vec::new())
            }
            (Who::Visitor, Ok(ClientFrame::Join { .. })) => visitor("join".to_owned()),
            (Who::Visitor, Ok(ClientFrame::Leave { .. })) => visitor("leave".to_owned()),
            (Who::Visitor, Ok(ClientFrame::Order(order))) => visitor(order.request_id.to_string()),
            (Who::Shopper { user_id, .. }, Ok(ClientFrame::Join { promo_id })) => {
                self.join(promo_id, user_id).await
            }
            (Who::Shopper { user_id, .. }, Ok(ClientFrame::Leave { promo_id })) => {
                let left = self.gateway.queue.leave(promo_id, user_id).await;
                self.moved(left, "leave")
            }
            (Who::Shopper { user_id, .. }, Ok(ClientFrame::Order(order))) => self.order(user_id, order),
        }
    }

    async fn hello(&mut self, token: Option<String>) -> Answer {
        let Some(token) = token else {
            self.who = Who::Visitor;
            return Answer::frame(&self.welcome(None, Vec::new()));
        };
        let identity = match self.gateway.tokens.verify(&token, clock::now()) {
            Ok(identity) => identity,
            Err(TokenError::Expired) => return Answer::Close(close::TOKEN_EXPIRED, None),
            Err(TokenError::Invalid) => return Answer::Close(close::NOT_AUTHENTICATED, None),
        };
        let user_id = identity.user_id;
        // Entered before the states are read, so that no news falls between the two.
        if let Err(TooManySockets) = self.gateway.registry.enter(user_id, &self.socket) {
            return Answer::Close(close::TOO_MANY_SOCKETS, None);
        }
        self.who = Who::Shopper { user_id, expires_at: identity.expires_at };
        let states = match self.gateway.queue.everywhere(user_id).await {
            Ok(states) => states,
            Err(error) => {
                tracing::error!(%user_id, %error, "a shopper could not be told where they stand");
                let spread = self.gateway.limits.reconnect_spread_ms;
                let bye = session::bye(ByeReason::Unavailable, spread);
                return Answer::Close(close::GOING_AWAY, Some(bye));
            }
        };
        let mut frames = Vec::new();
        for state in &states {
            frames.extend(self.start_watching(state.promo_id, "hello").await.unwrap_or_default());
        }
        frames.insert(0, self.welcome(Some(user_id), states).to_text().into());
        Answer::Frames(frames)
    }

    fn welcome(&self, user_id: Option<UserId>, states: Vec<Standing>) -> ServerFrame {
        ServerFrame::Welcome(WelcomeFrame {
            session_id: random::uuid(),
            user_id,
            server_time: clock::now(),
            heartbeat_ms: self.gateway.limits.heartbeat_ms,
            states: states.into_iter().map(Into::into).collect(),
        })
    }

    async fn watch(&mut self, promo: PromoId) -> Answer {
        match self.start_watching(promo, "watch").await {
            Ok(frames) => Answer::Frames(frames),
            Err(error) => Answer::frame(&error),
        }
    }

    /// Lets this socket hear the promo's broadcasts; returns the current ones. `frame` is the client's that asked for it.
    async fn start_watching(&mut self, promo: PromoId, frame: &str) -> Result<Vec<Utf8Bytes>, ServerFrame> {
        if !self.watched.contains(&promo) && self.watched.len() >= self.gateway.limits.max_watched {
            let message = "this socket watches as many promos as it may";
            return Err(ServerFrame::error(ErrorCode::TooManyWatched, message, Some(frame.to_owned())));
        }
        let now = self.gateway.queue.look(promo).await.map_err(|error| trouble(&error, frame))?;
        let Told { queue, stock, .. } = self.gateway.registry.watch(promo, &self.socket, told(&now));
        if self.watched.insert(promo) {
            return Ok(vec![queue, stock]);
        }
        // Behind what the outbox holds already.
        self.socket.outbox.push(queue);
        self.socket.outbox.push(stock);
        Ok(Vec::new())
    }

    fn unwatch(&mut self, promo: PromoId) {
        if self.watched.remove(&promo) {
            self.gateway.registry.unwatch(promo, &self.socket);
        }
    }

    async fn join(&mut self, promo: PromoId, user: UserId) -> Answer {
        let watching = match self.start_watching(promo, "join").await {
            Ok(frames) => frames,
            Err(error) => return Answer::frame(&error),
        };
        let joined = self.gateway.queue.join(promo, user).await;
        match self.moved(joined, "join") {
            Answer::Frames(mut frames) => {
                frames.extend(watching);
                Answer::Frames(frames)
            }
            answer => answer,
        }
    }

    /// The answer to a move of the shopper's. Their other sockets are told too.
    fn moved(&self, moved: Result<Standing, QueueError>, frame: &str) -> Answer {
        match moved {
            Ok(standing) => {
                let user = standing.user_id;
                let state: Utf8Bytes = ServerFrame::State(standing.into()).to_text().into();
                self.gateway.registry.push_to_others(user, &self.socket, &state);
                Answer::Frames(vec![state])
            }
            Err(error) => Answer::frame(&trouble(&error, frame)),
        }
    }

    fn order(&self, user_id: UserId, order: OrderFrame) -> Answer {
        let OrderFrame { request_id, promo_id, item_id, quantity } = order;
        let target = match (promo_id, item_id) {
            (Some(promo), None) => Target::Promo(promo),
            (None, Some(item)) => Target::Item(item),
            _ => return refused(request_id),
        };
        let wish = Wish { user_id, request_id, target, quantity };
        Answer::Order(request_id, self.gateway.orders.place(wish))
    }

    /// The frames that answer an order; none if the answer follows by itself. Who repeats a request may have missed its
    /// outcome too, and is told where they stand.
    pub async fn answer_order(&self, request_id: RequestId, placed: Placed) -> Vec<Utf8Bytes> {
        let answer = match placed {
            Placed::Accepted(order_id) | Placed::AcceptedBefore { order_id, .. } => {
                ServerFrame::Accepted { request_id, order_id }
            }
            Placed::Refused { reason, retry_after_ms } => {
                ServerFrame::Refused { request_id, reason, retry_after_ms }
            }
            Placed::Unconfirmed => return Vec::new(),
        };
        let mut frames = vec![answer.to_text().into()];
        if let (Placed::AcceptedBefore { promo_id: Some(promo), .. }, Some(user)) = (placed, user(self.who)) {
            match self.gateway.queue.standings(promo, &[user]).await {
                Ok(found) => {
                    frames.extend(
                        found.into_iter().map(|found| ServerFrame::State(found.into()).to_text().into()),
                    );
                }
                Err(error) => tracing::warn!(%promo, %error, "a standing could not be read"),
            }
        }
        frames
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        self.gateway.registry.leave(user(self.who), self.watched.iter().copied(), &self.socket);
    }
}

fn user(who: Who) -> Option<UserId> {
    match who {
        Who::Shopper { user_id, .. } => Some(user_id),
        Who::Stranger | Who::Visitor => None,
    }
}

/// The frames that tell everybody of the room.
pub fn told(now: &RoomNow) -> Told {
    Told {
        stamp: now.stamp(),
        queue: ServerFrame::Queue(now.into()).to_text().into(),
        stock: ServerFrame::Stock(now.into()).to_text().into(),
    }
}

fn refused(request_id: RequestId) -> Answer {
    let reason = Reason::BadRequest;
    Answer::frame(&ServerFrame::Refused { request_id, reason, retry_after_ms: None })
}

fn visitor(reference: String) -> Answer {
    let message = "a visitor may only watch: log in";
    Answer::frame(&ServerFrame::error(ErrorCode::NotAuthenticated, message, Some(reference)))
}

fn trouble(error: &QueueError, frame: &str) -> ServerFrame {
    let (code, message) = match error {
        QueueError::NotFound => (ErrorCode::NotFound, "there is no such promo"),
        QueueError::Full => (ErrorCode::RoomFull, "the waiting room is full"),
        QueueError::Engine(_) | QueueError::Catalog(_) => {
            tracing::error!(%error, frame, "a frame could not be answered");
            (ErrorCode::Unavailable, "this does not work right now")
        }
    };
    ServerFrame::error(code, message, Some(frame.to_owned()))
}
