//! Flash sales: schedule, admission settings and the sealed draw.

use std::fmt;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{ItemId, Price, PromoId, Timestamp, UserId};

/// A flash sale of one item. Its stock lives in the pool [`super::PoolId::Promo`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promo {
    pub id: PromoId,
    pub item_id: ItemId,
    pub title: String,
    pub price: Price,
    /// Units allotted to the sale; they leave the item's pool when the promo is published.
    pub stock: u32,
    /// Units one shopper may hold in live orders.
    pub per_user_limit: u32,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub admission: Admission,
    /// How long a posted order may stay unpaid.
    pub payment_window_ms: u64,
    pub seed: Seed,
    pub stage: PromoStage,
    pub created_at: Timestamp,
}

impl Promo {
    /// What the promo is to a shopper at `now`: the stored stage and the schedule together.
    pub fn status(&self, now: Timestamp) -> PromoStatus {
        match self.stage {
            PromoStage::Draft => PromoStatus::Draft,
            PromoStage::Ended => PromoStatus::Ended,
            _ if now >= self.ends_at => PromoStatus::Ended,
            PromoStage::Paused => PromoStatus::Paused,
            PromoStage::Published if now < self.starts_at => PromoStatus::Scheduled,
            PromoStage::Published => PromoStatus::Ongoing,
        }
    }
}

/// A promo to be created as a draft, checked.
#[derive(Clone, Debug)]
pub struct NewPromo {
    pub item_id: ItemId,
    pub title: String,
    pub price: Price,
    pub stock: u32,
    pub per_user_limit: u32,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub admission: Admission,
    pub payment_window_ms: u64,
    pub seed: Seed,
}

/// How a waiting room lets shoppers through. May be changed while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Admission {
    /// Passes per second.
    pub rate_per_s: u32,
    /// Live passes at most.
    pub max_active: u32,
    /// How long a pass lives.
    pub pass_ttl_ms: u64,
}

/// The part of a promo's status that is stored; time does the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromoStage {
    Draft,
    Published,
    Paused,
    Ended,
}

impl PromoStage {
    /// The stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Paused => "paused",
            Self::Ended => "ended",
        }
    }

    /// The stage of a stored word, or `None` for a word no version has written.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Draft, Self::Published, Self::Paused, Self::Ended]
            .into_iter()
            .find(|stage| stage.as_str() == word)
    }
}

/// What a promo is to a shopper right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PromoStatus {
    /// Only administrators see it.
    Draft,
    /// Published; the lobby is open.
    Scheduled,
    /// Selling.
    Ongoing,
    /// Held by an administrator: no passes, no orders.
    Paused,
    /// Over, by time or by an administrator.
    Ended,
}

/// The secret of a promo's draw: 32 random bytes, shown as 64 hex digits once the promo has opened.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    /// The commitment published beforehand: SHA-256 of the seed's bytes.
    pub fn commit(&self) -> SeedCommit {
        SeedCommit(Sha256::digest(self.0).into())
    }

    /// The shopper's place in the shuffle: the 52 most significant bits of
    /// HMAC-SHA256(seed, `"{promo_id}:{user_id}"`) (RFC 2104). 52 bits fit a double exactly.
    pub fn draw_key(&self, promo: PromoId, user: UserId) -> DrawKey {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(format!("{promo}:{user}").as_bytes());
        let digest = mac.finalize().into_bytes();
        let head: [u8; 8] = digest[..8].try_into().expect("SHA-256 has 32 bytes");
        DrawKey(u64::from_be_bytes(head) >> 12)
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Seed {
    /// The seed is a secret until the opening: it must not slip into a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(…)")
    }
}

/// SHA-256 of a [`Seed`], shown as 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeedCommit([u8; 32]);

impl fmt::Display for SeedCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A shopper's key in a promo's draw, 52 bits; shown as 13 hex digits. The lobby is numbered in ascending order of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DrawKey(pub u64);

impl fmt::Display for DrawKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:013x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values were computed with OpenSSL: `openssl dgst -sha256 -mac HMAC -macopt hexkey:…`.
    #[test]
    fn draw_key_and_commit_match_an_independent_implementation() {
        let seed = Seed([7; 32]);
        assert_eq!(
            seed.commit().to_string(),
            "4bb06f8e4e3a7715d201d573d0aa423762e55dabd61a2c02278fa56cc6d294e0"
        );
        assert_eq!(seed.draw_key(PromoId(3), UserId(41)).to_string(), "a9ec28ef577d0");
    }
}
