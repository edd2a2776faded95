//! What can go wrong with Redis, as far as callers decide differently.

use fred::error::{Error, ErrorKind};

/// The process has no Redis to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the Redis URL or its TLS settings are wrong: {0}")]
    Settings(String),
    /// Waiting longer would not help.
    #[error("Redis refuses the user name or password: {0}")]
    Refused(String),
    #[error("Redis did not answer within {waited_ms} ms: {cause}")]
    NoAnswer { waited_ms: u128, cause: String },
}

/// A command did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RedisError {
    /// No answer in time. It may have happened.
    #[error("Redis did not answer in time")]
    TimedOut,
    /// The connection was lost. It may have happened.
    #[error("the connection to Redis was lost: {0}")]
    Lost(String),
    /// Too many commands wait already. It did not happen.
    #[error("too many commands wait for Redis")]
    Busy,
    /// Redis said no. It did not happen, except for what a script did before it failed.
    #[error("Redis refused: {0}")]
    Refused(String),
    /// The answer makes no sense.
    #[error("Redis answered something unexpected: {0}")]
    Unexpected(String),
}

impl RedisError {
    /// Whether the command may have been carried out nevertheless.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Lost(_) | Self::Unexpected(_))
    }
}

impl From<Error> for RedisError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::Timeout => Self::TimedOut,
            ErrorKind::Backpressure => Self::Busy,
            ErrorKind::Protocol | ErrorKind::Parse | ErrorKind::NotFound => {
                Self::Unexpected(error.to_string())
            }
            // Redis's own words always begin with a code in capital letters; the client's own never do.
            _ if begins_with_code(error.details()) => Self::Refused(error.details().to_owned()),
            _ => Self::Lost(error.to_string()),
        }
    }
}

fn begins_with_code(text: &str) -> bool {
    let code = text.split(' ').next().unwrap_or_default();
    code.len() > 1 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}
