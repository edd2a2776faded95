//! Session tokens: JSON Web Tokens signed with HMAC-SHA256.
//!
//! Knows the server's secret and what a token says about its holder. Reads no clock and no database: a token is good
//! until it expires, and whoever asks says what time it is.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use crate::domain::{Role, Timestamp, User, UserId};

/// The longest text that is looked at as a token; ours are about 200 bytes.
const MAX_TOKEN_LEN: usize = 1024;

/// Who a valid token speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub user_id: UserId,
    pub role: Role,
    /// From this instant on the token is worth nothing.
    pub expires_at: Timestamp,
}

/// The token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not one of ours, or changed on its way.
    #[error("the token is not valid")]
    Invalid,
    /// Was valid once.
    #[error("the token has expired")]
    Expired,
}

/// Issues and verifies tokens with one secret.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    ttl_ms: u64,
}

impl Tokens {
    /// `secret` should be at least 32 random bytes; `ttl_ms` is how long a token lives.
    pub fn new(secret: &[u8], ttl_ms: u64) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The library would read the clock itself; `verify` compares with the instant it is given.
        validation.validate_exp = false;
        validation.set_required_spec_claims(&["exp", "sub"]);
        Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            ttl_ms,
        }
    }

    /// A token for `user`, and the instant at which it expires.
    pub fn issue(&self, user: &User, now: Timestamp) -> (String, Timestamp) {
        let exp = now.plus_millis(self.ttl_ms).as_millis().div_euclid(1000);
        let claims =
            Claims { sub: user.id.to_string(), role: user.role, iat: now.as_millis().div_euclid(1000), exp };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding)
            .expect("claims of numbers and words can be written as JSON and signed");
        (token, instant(exp))
    }

    /// Who the token speaks for, at `now`, without leeway.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Identity, TokenError> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenError::Invalid);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|_| TokenError::Invalid)?
            .claims;
        let user_id = UserId(claims.sub.parse().map_err(|_| TokenError::Invalid)?);
        let expires_at = instant(claims.exp);
        if now >= expires_at {
            return Err(TokenError::Expired);
        }
        Ok(Identity { user_id, role: claims.role, expires_at })
    }
}

impl fmt::Debug for Tokens {
    /// The keys are secret: they must not slip into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens").field("ttl_ms", &self.ttl_ms).finish_non_exhaustive()
    }
}

/// The registered claims (RFC 7519, times in seconds) and the role.
#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    role: Role,
    iat: i64,
    exp: i64,
}

fn instant(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_341_600_007);

    fn user() -> User {
        User {
            id: UserId(41),
            email: "ann@example.org".to_owned(),
            display_name: "Ann".to_owned(),
            role: Role::Shopper,
            created_at: NOW,
        }
    }

    #[test]
    fn a_token_speaks_for_its_user_until_it_expires() {
        let tokens = Tokens::new(b"secret", 60_000);
        let (token, expires_at) = tokens.issue(&user(), NOW);
        let identity = Identity { user_id: UserId(41), role: Role::Shopper, expires_at };
        assert_eq!(tokens.verify(&token, expires_at.minus_millis(1)), Ok(identity));
        assert_eq!(tokens.verify(&token, expires_at), Err(TokenError::Expired));
        assert!(expires_at <= NOW.plus_millis(60_000));
    }

    #[test]
    fn a_token_of_another_secret_or_algorithm_is_invalid() {
        let tokens = Tokens::new(b"secret", 60_000);
        let (foreign, _) = Tokens::new(b"another", 60_000).issue(&user(), NOW);
        assert_eq!(tokens.verify(&foreign, NOW), Err(TokenError::Invalid));
        // {"alg":"none"} . {"sub":"1","role":"admin","iat":0,"exp":9999999999}
        let unsigned =
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIiwicm9sZSI6ImFkbWluIiwiaWF0IjowLCJleHAiOjk5OTk5OTk5OTl9.";
        assert_eq!(tokens.verify(unsigned, NOW), Err(TokenError::Invalid));
        assert_eq!(tokens.verify("", NOW), Err(TokenError::Invalid));
        assert_eq!(tokens.verify(&"a".repeat(100_000), NOW), Err(TokenError::Invalid));
    }
}
