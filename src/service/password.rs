//! Passwords: hashed with argon2id, off the threads that serve requests.
//!
//! A hash costs tens of milliseconds and 19 MiB on purpose, so only so many are computed at once, only so many wait,
//! and the next one is told to come back. Knows no user and no store.

use std::{fmt, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString},
};
use tokio::sync::Semaphore;

use crate::random;

/// The cost of one hash as OWASP recommends it: 19 MiB, two passes, one lane.
const COST: Cost = Cost { memory_kib: 19_456, passes: 2, lanes: 1 };

struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// The password was neither hashed nor verified.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Too many wait already.
    #[error("too many passwords are being hashed")]
    Busy,
    /// The stored hash is damaged or the hasher broke. The text is for the log.
    #[error("the password hasher failed: {0}")]
    Failed(String),
}

/// Hashes and verifies passwords.
#[derive(Clone)]
pub struct Passwords {
    argon: Argon2<'static>,
    /// One permit for each hash that is computed.
    working: Arc<Semaphore>,
    /// One permit for each hash that is computed or waits for its turn.
    admitted: Arc<Semaphore>,
    /// What the password of somebody unknown is compared with, so that the answer takes as long as for anybody else.
    nobody: Arc<str>,
}

impl Passwords {
    /// `workers` hashes are computed at once (the number of cores is right), and `max_waiting` wait for their turn.
    /// Computes one hash.
    pub fn new(workers: usize, max_waiting: usize) -> Self {
        let params = Params::new(COST.memory_kib, COST.passes, COST.lanes, None)
            .expect("the constant is within argon2's bounds");
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let secret: [u8; 16] = random::bytes();
        let nobody = hash(&argon, &secret).expect("argon2 hashes sixteen bytes");
        Self {
            argon,
            working: Arc::new(Semaphore::new(workers.max(1))),
            admitted: Arc::new(Semaphore::new(workers.max(1).saturating_add(max_waiting))),
            nobody: nobody.into(),
        }
    }

    /// A fresh hash of `password`, as a PHC string.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        self.work(move |argon| hash(argon, password.as_bytes())).await
    }

    /// Whether `password` is the one that was hashed to `stored`. With `None`, for somebody unknown, the answer is no,
    /// after the same work.
    pub async fn verify(&self, password: String, stored: Option<String>) -> Result<bool, PasswordError> {
        let nobody = Arc::clone(&self.nobody);
        self.work(move |argon| {
            let known = stored.is_some();
            let matches = verify(argon, password.as_bytes(), stored.as_deref().unwrap_or(&nobody))?;
            Ok(known && matches)
        })
        .await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Argon2<'static>) -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned().map_err(|_| PasswordError::Busy)?;
        let working = Arc::clone(&self.working).acquire_owned().await.map_err(|_| PasswordError::Busy)?;
        let argon = self.argon.clone();
        // The permits go with the work: it runs on even if nobody waits for it any more.
        let done = tokio::task::spawn_blocking(move || {
            let _permits = (admitted, working);
            work(&argon)
        });
        done.await.map_err(|error| PasswordError::Failed(error.to_string()))?
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

fn hash(argon: &Argon2<'static>, password: &[u8]) -> Result<String, PasswordError> {
    let salt: [u8; 16] = random::bytes();
    let salt = SaltString::encode_b64(&salt).map_err(failed)?;
    Ok(argon.hash_password(password, &salt).map_err(failed)?.to_string())
}

fn verify(argon: &Argon2<'static>, password: &[u8], stored: &str) -> Result<bool, PasswordError> {
    let stored = PasswordHash::new(stored).map_err(failed)?;
    match argon.verify_password(password, &stored) {
        Ok(()) => Ok(true),
        Err(argon2::password_hash::Error::Password) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: argon2::password_hash::Error) -> PasswordError {
    PasswordError::Failed(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_somebody_known_matches() {
        let passwords = Passwords::new(1, 8);
        let stored = passwords.hash("correct horse".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(passwords.verify("correct horse".to_owned(), Some(stored.clone())).await.unwrap());
        assert!(!passwords.verify("wrong horse".to_owned(), Some(stored)).await.unwrap());
        assert!(!passwords.verify("correct horse".to_owned(), None).await.unwrap());
        let damaged = passwords.verify("correct horse".to_owned(), Some("damaged".to_owned())).await;
        assert!(matches!(damaged, Err(PasswordError::Failed(_))));
    }

    #[tokio::test]
    async fn who_comes_when_too_many_wait_is_sent_away() {
        let passwords = Passwords::new(1, 1);
        let hash = || passwords.hash("correct horse".to_owned());
        let (first, second, third) = tokio::join!(hash(), hash(), hash());
        assert!(first.is_ok() && second.is_ok());
        assert!(matches!(third, Err(PasswordError::Busy)));
        assert!(hash().await.is_ok());
    }
}
