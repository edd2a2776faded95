//! One socket's loop. Generic over the socket, so that tests drive it without a network.
//!
//! One task, one `select!` over a closed set: shutdown, too slow, an order's answer, the outbox, the clock, the client. While
//! an order is under way nothing else is read or sent, so that `accepted` always comes before the order's `outcome`, and
//! a socket has one order in flight at most.

use std::{pin::Pin, sync::Arc, time::Duration};

use axum::{
    BoxError,
    extract::ws::{CloseFrame, Message, Utf8Bytes},
};
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite;
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    domain::RequestId,
    random,
    service::order::{Placed, Placing},
};

use super::{
    close::{self, CloseReason},
    conversation::{Answer, Conversation, Gateway},
    protocol::{ByeReason, MAX_CLIENT_FRAME, ServerFrame},
    registry::Socket,
};

/// How long a write may still take once the server shuts down: one client must not hold up the others' goodbye.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// What may carry a session: axum's socket, or a test's channels.
pub trait Wire:
    Stream<Item = Result<Message, BoxError>> + Sink<Message, Error = BoxError> + Send + Unpin
{
}

impl<W> Wire for W where
    W: Stream<Item = Result<Message, BoxError>> + Sink<Message, Error = BoxError> + Send + Unpin
{
}

/// How a session ends.
enum End {
    /// The connection is gone; there is nobody to tell.
    Gone,
    /// The client closed.
    Closed,
    /// The server closes, after this frame if there is one.
    Close(CloseReason, Option<ServerFrame>),
}

/// An order whose answer is awaited.
type InFlight = (RequestId, Placing);

struct Session<W> {
    wire: W,
    gateway: Arc<Gateway>,
    socket: Arc<Socket>,
    conversation: Conversation,
    in_flight: Option<InFlight>,
    shutdown: CancellationToken,
    heard_at: Instant,
    pinged_at: Instant,
    hello_by: Instant,
}

/// Runs a socket until it closes, however that happens, and lets go of `held` then.
///
/// Not an `async fn`: the future would hold the wire twice, as its argument and as a part of the session.
pub fn run(
    wire: impl Wire,
    gateway: Arc<Gateway>,
    shutdown: CancellationToken,
    held: impl Send,
) -> impl Future<Output = ()> + Send {
    let socket = gateway.registry.socket();
    let now = Instant::now();
    let mut session = Session {
        wire,
        conversation: Conversation::new(Arc::clone(&gateway), Arc::clone(&socket)),
        socket,
        in_flight: None,
        shutdown,
        heard_at: now,
        pinged_at: now,
        hello_by: now + Duration::from_millis(gateway.limits.hello_within_ms),
        gateway,
    };
    async move {
        let end = session.talk().await;
        // Once in a socket's life, so it is not to take room in it.
        Box::pin(session.end(end)).await;
        drop(held);
    }
}

impl<W: Wire> Session<W> {
    async fn talk(&mut self) -> End {
        let shutdown = self.shutdown.clone();
        let mut alarm = Box::pin(sleep_until(self.hello_by));
        loop {
            let socket = Arc::clone(&self.socket);
            let idle = self.in_flight.is_none();
            let step = tokio::select! {
                biased;
                () = shutdown.cancelled(), if idle => {
                    let bye = bye(ByeReason::GoingAway, self.gateway.limits.reconnect_spread_ms);
                    Err(End::Close(close::GOING_AWAY, Some(bye)))
                }
                () = socket.outbox.overflowed() => Err(End::Close(close::SLOW_CONSUMER, None)),
                answer = answer(&mut self.in_flight), if !idle => self.send_answer(answer).await,
                frames = socket.outbox.take(), if idle => self.send(frames).await,
                () = &mut alarm => self.ring(&mut alarm).await,
                message = self.wire.next(), if idle => self.hear(message, &mut alarm).await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn send_answer(&mut self, (request_id, placed): (RequestId, Placed)) -> Result<(), End> {
        let mut frames = Box::pin(self.conversation.answer_order(request_id, placed)).await;
        // What came meanwhile goes out with the answer, behind it.
        frames.extend(self.socket.outbox.take_now());
        self.send(frames).await
    }

    /// Something is due: `hello`, a ping, the end of a silent socket or of a token.
    async fn ring(&mut self, alarm: &mut Pin<Box<Sleep>>) -> Result<(), End> {
        let now = Instant::now();
        let heartbeat = Duration::from_millis(self.gateway.limits.heartbeat_ms);
        if self.conversation.is_stranger() && now >= self.hello_by {
            return Err(End::Close(close::HELLO_TIMEOUT, None));
        }
        if self.conversation.expires_at().is_some_and(|at| clock::now() >= at) {
            return Err(End::Close(close::TOKEN_EXPIRED, None));
        }
        if now >= self.heard_at + 2 * heartbeat {
            return Err(End::Close(close::SILENT, None));
        }
        if now >= self.pinged_at + heartbeat {
            self.pinged_at = now;
            self.write(Message::Ping(axum::body::Bytes::new())).await?;
        }
        self.arm(alarm);
        Ok(())
    }

    fn arm(&self, alarm: &mut Pin<Box<Sleep>>) {
        let heartbeat = Duration::from_millis(self.gateway.limits.heartbeat_ms);
        let mut next = (self.pinged_at + heartbeat).min(self.heard_at + 2 * heartbeat);
        if self.conversation.is_stranger() {
            next = next.min(self.hello_by);
        }
        if let Some(expires_at) = self.conversation.expires_at() {
            next = next.min(Instant::now() + Duration::from_millis(expires_at.since(clock::now())));
        }
        alarm.as_mut().reset(next);
    }

    async fn hear(
        &mut self,
        message: Option<Result<Message, BoxError>>,
        alarm: &mut Pin<Box<Sleep>>,
    ) -> Result<(), End> {
        let message = match message {
            Some(Err(error)) if is_violation(&error) => {
                return Err(End::Close(close::PROTOCOL_VIOLATION, None));
            }
            None | Some(Err(_)) => return Err(End::Gone),
            Some(Ok(Message::Close(_))) => return Err(End::Closed),
            Some(Ok(message)) => message,
        };
        self.heard_at = Instant::now();
        if let Err(Answer::Close(reason, last)) = self.conversation.within_frame_limit() {
            return Err(End::Close(reason, last));
        }
        match message {
            Message::Text(text) if text.len() <= MAX_CLIENT_FRAME => {
                let was_stranger = self.conversation.is_stranger();
                // On the heap only while a frame is answered: most of a socket's life it waits, and many thousand do.
                match Box::pin(self.conversation.hear(&text)).await {
                    Answer::Frames(frames) => self.send(frames).await?,
                    Answer::Order(request_id, placing) => self.in_flight = Some((request_id, placing)),
                    Answer::Close(reason, last) => return Err(End::Close(reason, last)),
                }
                if was_stranger {
                    self.arm(alarm);
                }
                Ok(())
            }
            Message::Text(_) | Message::Binary(_) => Err(End::Close(close::PROTOCOL_VIOLATION, None)),
            // The library answers pings; a pong has been noted by `heard_at`.
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => Ok(()),
        }
    }

    async fn send(&mut self, frames: impl IntoIterator<Item = Utf8Bytes>) -> Result<(), End> {
        let limit = Duration::from_millis(self.gateway.limits.write_within_ms);
        let wire = &mut self.wire;
        let writing = async {
            for frame in frames {
                wire.feed(Message::Text(frame)).await?;
            }
            wire.flush().await
        };
        Box::pin(within(limit, &self.socket, &self.shutdown, writing)).await
    }

    async fn write(&mut self, message: Message) -> Result<(), End> {
        let limit = Duration::from_millis(self.gateway.limits.write_within_ms);
        Box::pin(within(limit, &self.socket, &self.shutdown, self.wire.send(message))).await
    }

    /// Says why, closes, and reads until the client has closed too, so that it hears the reason. All of it in bounded time.
    async fn end(&mut self, end: End) {
        let limit = Duration::from_millis(self.gateway.limits.close_within_ms);
        let (reason, last, answers) = match end {
            End::Gone => return,
            End::Closed => (close::NORMAL, None, true),
            End::Close(reason, last) => (reason, last, false),
        };
        metrics::counter!("panicbuy_closed_sockets_total", "code" => reason.code.to_string()).increment(1);
        let closing = async {
            if let Some(frame) = last {
                self.wire.feed(Message::Text(frame.to_text().into())).await?;
            }
            // The library has the answer to a client's close ready: it only needs to be sent.
            if answers {
                self.wire.flush().await?;
            } else {
                let frame = CloseFrame { code: reason.code, reason: reason.reason.into() };
                self.wire.send(Message::Close(Some(frame))).await?;
            }
            while let Some(Ok(_)) = self.wire.next().await {}
            Ok::<(), BoxError>(())
        };
        // A client that does not answer in time, or is gone, has had its chance.
        let _ = timeout(limit, closing).await;
    }
}

/// Bounds a write: a client that does not read is too slow, sooner or later.
async fn within(
    limit: Duration,
    socket: &Socket,
    shutdown: &CancellationToken,
    writing: impl Future<Output = Result<(), BoxError>>,
) -> Result<(), End> {
    tokio::select! {
        biased;
        written = writing => written.map_err(|_| End::Gone),
        () = socket.outbox.overflowed() => Err(End::Close(close::SLOW_CONSUMER, None)),
        () = sleep(limit) => Err(End::Close(close::SLOW_CONSUMER, None)),
        () = async { shutdown.cancelled().await; sleep(LAST_WRITE).await } => Err(End::Gone),
    }
}

/// The answer of the order in flight; waits for ever if there is none.
async fn answer(in_flight: &mut Option<InFlight>) -> (RequestId, Placed) {
    let Some((request_id, placing)) = in_flight else { return std::future::pending().await };
    let request_id = *request_id;
    let placed = placing.await;
    *in_flight = None;
    (request_id, placed)
}

fn is_violation(error: &BoxError) -> bool {
    use tungstenite::{Error, error::ProtocolError};
    match error.downcast_ref::<Error>() {
        Some(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => false,
        Some(Error::Capacity(_) | Error::Protocol(_) | Error::Utf8(_)) => true,
        _ => false,
    }
}

/// A goodbye with a delay of this client's own, so that not all come back at once.
pub fn bye(reason: ByeReason, spread_ms: u64) -> ServerFrame {
    ServerFrame::Bye { reason, reconnect_after_ms: random::below(spread_ms) }
}
