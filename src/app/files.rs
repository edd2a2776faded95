//! The files beside the database: the token secret, the saved waiting rooms and the lock.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{config::Settings, random};

/// The database's neighbour with this ending.
pub(super) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut file = database.as_os_str().to_owned();
    file.push(ending);
    PathBuf::from(file)
}

/// Keeps other processes off the database for as long as it is held; a killed process lets go of it.
pub(super) fn lock(database: &Path) -> anyhow::Result<File> {
    let path = beside(database, ".lock");
    let file = File::create(&path).with_context(|| format!("{} could not be written", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            anyhow::bail!(
                "--database-url (PANICBUY_DATABASE_URL): another process serves {}",
                database.display()
            )
        }
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("{} could not be locked", path.display()))
        }
    }
}

/// The secret that signs tokens: as set, or as kept beside the database, or a fresh one that is kept there from now on.
pub(super) async fn token_secret(settings: &Settings, database: &Path) -> anyhow::Result<String> {
    if let Some(secret) = &settings.accounts.token_secret {
        return Ok(secret.clone());
    }
    let file = &beside(database, ".token-secret");
    match tokio::fs::read_to_string(file).await {
        Ok(secret) if secret.trim().len() >= 32 => Ok(secret.trim().to_owned()),
        Ok(_) => anyhow::bail!("{} holds no token secret of at least 32 characters", file.display()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let secret = hex::encode(random::bytes::<32>());
            write_private(file, &secret)
                .await
                .with_context(|| format!("{} could not be written", file.display()))?;
            Ok(secret)
        }
        Err(error) => Err(error).with_context(|| format!("{} could not be read", file.display())),
    }
}

/// Writes a file that only its owner may read.
async fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    use tokio::io::AsyncWriteExt;
    let mut options = tokio::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(file).await?;
    file.write_all(text.as_bytes()).await?;
    file.sync_all().await
}
