//! Money as integers in minor units, beside one currency for the whole server.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An amount in the currency's minor unit (cents for EUR). Never negative, at most [`Price::MAX`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
pub struct Price(pub i64);

impl Price {
    /// Ten billion minor units: far above any price, far below where a sum could overflow.
    pub const MAX: Self = Self(10_000_000_000);
}

/// An ISO 4217 code such as `EUR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Currency([u8; 3]);

impl Currency {
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("a currency is three ASCII letters")
    }
}

/// The text is not three capital letters.
#[derive(Debug, thiserror::Error)]
#[error("expected an ISO 4217 code of three capital letters, such as EUR")]
pub struct NotACurrency;

impl FromStr for Currency {
    type Err = NotACurrency;

    fn from_str(text: &str) -> Result<Self, NotACurrency> {
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| NotACurrency)?;
        if code.iter().all(u8::is_ascii_uppercase) { Ok(Self(code)) } else { Err(NotACurrency) }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
