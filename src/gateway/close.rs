//! Why the server closes a socket. 4000–4499 say "reconnect", 4500–4999 say "do not".

/// A documented close code and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseReason {
    pub code: u16,
    /// The reason as the close frame carries it.
    pub reason: &'static str,
}

impl CloseReason {
    const fn new(code: u16, reason: &'static str) -> Self {
        Self { code, reason }
    }
}

/// The client closed, or the conversation is over.
pub const NORMAL: CloseReason = CloseReason::new(1000, "normal");
/// The server shuts down; a `bye` said when to come back.
pub const GOING_AWAY: CloseReason = CloseReason::new(1001, "going away");
/// No `hello` came in time.
pub const HELLO_TIMEOUT: CloseReason = CloseReason::new(4000, "no hello in time");
/// Too many frames; a `bye` said when to come back.
pub const RATE_LIMITED: CloseReason = CloseReason::new(4001, "rate limited");
/// The client does not read fast enough; `welcome` catches up.
pub const SLOW_CONSUMER: CloseReason = CloseReason::new(4002, "slow consumer");
/// The session token has expired: log in, then reconnect.
pub const TOKEN_EXPIRED: CloseReason = CloseReason::new(4003, "token expired");
/// Nothing was heard for two heartbeats.
pub const SILENT: CloseReason = CloseReason::new(4004, "silent");
/// The token is not valid.
pub const NOT_AUTHENTICATED: CloseReason = CloseReason::new(4500, "not authenticated");
/// A frame broke the protocol: too large, binary, not a JSON object, or not `hello` first.
pub const PROTOCOL_VIOLATION: CloseReason = CloseReason::new(4501, "protocol violation");
/// The shopper holds as many sockets as one may.
pub const TOO_MANY_SOCKETS: CloseReason = CloseReason::new(4502, "too many sockets");

/// Every reason for which the server closes.
pub const ALL: [CloseReason; 10] = [
    NORMAL,
    GOING_AWAY,
    HELLO_TIMEOUT,
    RATE_LIMITED,
    SLOW_CONSUMER,
    TOKEN_EXPIRED,
    SILENT,
    NOT_AUTHENTICATED,
    PROTOCOL_VIOLATION,
    TOO_MANY_SOCKETS,
];
