//! Users: register, log in, profile.
//!
//! Knows who may be registered and how often somebody may try to log in. Passwords go in and only their hashes are kept.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock, clock::DefaultClock};
use uuid::Uuid;

use super::{
    password::{PasswordError, Passwords},
    token::Tokens,
};
use crate::{
    domain::{NewUser, Role, Timestamp, User, UserId},
    store::port::{CreateUserError, StoreError, UserStore},
};

/// E-mail addresses whose attempts are counted at once. Beyond that nobody new may try until some are forgotten.
const MAX_COUNTED: usize = 1_000_000;

/// Stands where a password's hash would, and is not one: no password matches it.
const NO_PASSWORD: &str = "!";

/// The text is not what it should be; this says what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub &'static str);

/// An e-mail address, trimmed and in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email(String);

impl Email {
    /// Only what no address can be is refused; whether it exists, only a mail could tell.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        const INVALID: Invalid = Invalid("must be an e-mail address of 3 to 254 characters");
        let text = text.trim().to_lowercase();
        let (local, host) = text.split_once('@').ok_or(INVALID)?;
        let plausible = (3..=254).contains(&text.chars().count())
            && !local.is_empty()
            && !host.is_empty()
            && !host.contains('@')
            && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if plausible { Ok(Self(text)) } else { Err(INVALID) }
    }
}

/// A password to be hashed. Never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    pub fn parse(text: String) -> Result<Self, Invalid> {
        match text.chars().count() {
            8..=128 => Ok(Self(text)),
            _ => Err(Invalid("must have 8 to 128 characters")),
        }
    }
}

/// The name others see, trimmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if !(1..=80).contains(&text.chars().count()) {
            Err(Invalid("must have 1 to 80 characters"))
        } else if text.chars().any(char::is_control) {
            Err(Invalid("must have no control characters"))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

/// Somebody who has logged in.
#[derive(Clone, Debug)]
pub struct Session {
    pub token: String,
    pub expires_at: Timestamp,
    pub user: User,
}

/// Nobody was registered.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    #[error(transparent)]
    Create(#[from] CreateUserError),
    #[error(transparent)]
    Password(#[from] PasswordError),
}

/// Nobody was logged in.
#[derive(Debug, thiserror::Error)]
pub enum LogInError {
    /// The address is unknown or the password is wrong: which of them is not told.
    #[error("the e-mail address or the password is wrong")]
    BadCredentials,
    #[error("too many attempts for this e-mail address")]
    RateLimited { retry_after_ms: u64 },
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// There is no administrator with this address now.
#[derive(Debug, thiserror::Error)]
pub enum EnsureAdminError {
    #[error("the administrator's e-mail address {0}")]
    Email(Invalid),
    #[error("the administrator's password {0}")]
    Password(Invalid),
    #[error("the e-mail address belongs to a shopper")]
    Shopper,
    #[error(transparent)]
    Register(#[from] RegisterError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What people may do with their accounts.
pub struct UserService {
    store: Arc<dyn UserStore>,
    passwords: Passwords,
    tokens: Arc<Tokens>,
    /// Attempts to log in by a hash of the address: somebody who tries a million addresses costs little memory.
    attempts: DefaultKeyedRateLimiter<u64>,
    hasher: RandomState,
}

impl UserService {
    /// `log_ins` is how often somebody may try to log in, per e-mail address.
    pub fn new(store: Arc<dyn UserStore>, passwords: Passwords, tokens: Arc<Tokens>, log_ins: Quota) -> Self {
        Self { store, passwords, tokens, attempts: RateLimiter::keyed(log_ins), hasher: RandomState::new() }
    }

    /// Registers a shopper.
    pub async fn register(
        &self,
        email: Email,
        password: Password,
        display_name: DisplayName,
        now: Timestamp,
    ) -> Result<User, RegisterError> {
        self.create(email, password, display_name, Role::Shopper, now).await
    }

    /// Opens a session for whoever knows the password. Takes what was typed as it is: an address that cannot be
    /// one is merely unknown.
    pub async fn log_in(&self, email: &str, password: String, now: Timestamp) -> Result<Session, LogInError> {
        let email = Email::parse(email).ok();
        let address = email.as_ref().map_or("", |email| &email.0);
        self.count_attempt(address)?;
        let found = match &email {
            Some(email) => self.store.user_by_email(&email.0).await?,
            None => None,
        };
        let (user, stored) = found.unzip();
        let stored = stored.filter(|hash| hash != NO_PASSWORD);
        let matches = self.passwords.verify(password, stored).await?;
        let Some(user) = user.filter(|_| matches) else {
            metrics::counter!("panicbuy_log_ins_total", "result" => "bad_credentials").increment(1);
            return Err(LogInError::BadCredentials);
        };
        metrics::counter!("panicbuy_log_ins_total", "result" => "ok").increment(1);
        let (token, expires_at) = self.tokens.issue(&user, now);
        Ok(Session { token, expires_at, user })
    }

    /// Registers a shopper who cannot log in, and opens their session: for a crowd that cannot wait for as many
    /// password hashes.
    pub async fn enrol_without_password(
        &self,
        email: Email,
        display_name: DisplayName,
        now: Timestamp,
    ) -> Result<Session, RegisterError> {
        let (email, display_name) = (email.0, display_name.0);
        let nobodys =
            NewUser { email, password_hash: NO_PASSWORD.to_owned(), display_name, role: Role::Shopper };
        let user = self.store.create_user(&nobodys, now).await?;
        let (token, expires_at) = self.tokens.issue(&user, now);
        Ok(Session { token, expires_at, user })
    }

    /// Registers `count` shoppers who cannot log in, with addresses under `.invalid`, and opens their sessions: for load
    /// tests by an administrator, who could as well register and log in each of them, one password hash after the other.
    pub async fn enrol_many(
        &self,
        count: usize,
        batch: Uuid,
        now: Timestamp,
    ) -> Result<Vec<Session>, CreateUserError> {
        let nobodys = |nth| NewUser {
            email: format!("{nth}@{batch}.invalid"),
            password_hash: NO_PASSWORD.to_owned(),
            display_name: format!("Test shopper {nth}"),
            role: Role::Shopper,
        };
        let shoppers: Vec<NewUser> = (1..=count).map(nobodys).collect();
        let created = self.store.create_users(&shoppers, now).await?;
        let session = |user| {
            let (token, expires_at) = self.tokens.issue(&user, now);
            Session { token, expires_at, user }
        };
        Ok(created.into_iter().map(session).collect())
    }

    /// The user's profile.
    pub async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.store.user(id).await
    }

    /// Gives the user another name.
    pub async fn rename(&self, id: UserId, display_name: DisplayName) -> Result<Option<User>, StoreError> {
        self.store.rename_user(id, &display_name.0).await
    }

    /// Sees to it that there is an administrator with this address. One who is there already keeps their password.
    pub async fn ensure_admin(
        &self,
        email: &str,
        password: String,
        now: Timestamp,
    ) -> Result<User, EnsureAdminError> {
        let email = Email::parse(email).map_err(EnsureAdminError::Email)?;
        let password = Password::parse(password).map_err(EnsureAdminError::Password)?;
        let name = DisplayName("Administrator".to_owned());
        if let Some((user, _)) = self.store.user_by_email(&email.0).await? {
            return admin(user);
        }
        match self.create(email.clone(), password, name, Role::Admin, now).await {
            // Another process that starts at the same time was quicker.
            Err(RegisterError::Create(CreateUserError::EmailTaken)) => {
                let found = self.store.user_by_email(&email.0).await?;
                admin(found.ok_or(EnsureAdminError::Shopper)?.0)
            }
            created => Ok(created?),
        }
    }

    /// Forgets attempts that no longer count. To be called every few seconds.
    pub fn tidy(&self) {
        self.attempts.retain_recent();
        self.attempts.shrink_to_fit();
    }

    async fn create(
        &self,
        email: Email,
        password: Password,
        display_name: DisplayName,
        role: Role,
        now: Timestamp,
    ) -> Result<User, RegisterError> {
        let password_hash = self.passwords.hash(password.0).await?;
        let user = NewUser { email: email.0, password_hash, display_name: display_name.0, role };
        Ok(self.store.create_user(&user, now).await?)
    }

    fn count_attempt(&self, address: &str) -> Result<(), LogInError> {
        if self.attempts.len() >= MAX_COUNTED {
            return Err(LogInError::Password(PasswordError::Busy));
        }
        self.attempts.check_key(&self.hasher.hash_one(address)).map_err(|not_until| {
            metrics::counter!("panicbuy_limits_hit_total", "limit" => "log_in").increment(1);
            let wait = not_until.wait_time_from(DefaultClock::default().now());
            LogInError::RateLimited {
                retry_after_ms: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1),
            }
        })
    }
}

fn admin(user: User) -> Result<User, EnsureAdminError> {
    match user.role {
        Role::Admin => Ok(user),
        Role::Shopper => Err(EnsureAdminError::Shopper),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_address_is_trimmed_and_lower_cased() {
        assert_eq!(Email::parse("  Ann@Example.ORG "), Ok(Email("ann@example.org".to_owned())));
    }

    #[test]
    fn what_is_no_email_address_is_refused() {
        let long = format!("{}@example.org", "a".repeat(250));
        for text in ["", "ann", "@", "a@", "@b", "a@b@c", "a b@c", "a\u{0}@b", &long] {
            assert!(Email::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn lengths_are_counted_in_characters() {
        assert!(Password::parse("ß".repeat(8)).is_ok());
        assert!(Password::parse("ß".repeat(7)).is_err());
        assert!(Password::parse("ß".repeat(128)).is_ok());
        assert!(Password::parse("ß".repeat(129)).is_err());
        assert!(DisplayName::parse(&"ß".repeat(80)).is_ok());
        assert!(DisplayName::parse(&"ß".repeat(81)).is_err());
        assert!(DisplayName::parse(" \t ").is_err());
        assert!(DisplayName::parse("a\u{7}b").is_err());
    }
}
