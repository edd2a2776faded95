//! People with an account.

use serde::{Deserialize, Serialize};

use super::{Timestamp, UserId};

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Joins, orders and pays.
    Shopper,
    /// Also runs the shop: items, promos, audits.
    Admin,
}

/// A registered person, without their password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct User {
    pub id: UserId,
    /// In lower case, unique.
    pub email: String,
    pub display_name: String,
    pub role: Role,
    pub created_at: Timestamp,
}

/// A person to be registered: checked, and with the password already hashed (argon2id, PHC string).
#[derive(Clone, Debug)]
pub struct NewUser {
    pub email: String,
    pub password_hash: String,
    pub display_name: String,
    pub role: Role,
}
