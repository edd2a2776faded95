//! Users.

use async_trait::async_trait;
use sqlx::{FromRow, Row, SqliteConnection, SqlitePool};

use super::SqliteStore;
use crate::{
    domain::{NewUser, Timestamp, User, UserId},
    store::{
        port::{CreateUserError, StoreError, UserStore},
        rows::{UserRecord, role_word},
    },
};

#[async_trait]
impl UserStore for SqliteStore {
    async fn create_users(&self, users: &[NewUser], now: Timestamp) -> Result<Vec<User>, CreateUserError> {
        let _turn = self.turn().await?;
        let mut tx = self.writer().begin().await.map_err(StoreError)?;
        let mut created = Vec::with_capacity(users.len());
        for user in users {
            created.push(insert_user(&mut tx, user, now).await?);
        }
        tx.commit().await.map_err(StoreError)?;
        Ok(created)
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        select_user(self.reader(), id).await
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<(User, String)>, StoreError> {
        let found = sqlx::query(
            "SELECT id, email, display_name, role, created_at, password_hash FROM users WHERE email = ?",
        )
        .bind(email)
        .fetch_optional(self.reader())
        .await?;
        let Some(row) = found else { return Ok(None) };
        let user = UserRecord::from_row(&row)?.decode()?;
        Ok(Some((user, row.try_get("password_hash")?)))
    }

    async fn rename_user(&self, id: UserId, display_name: &str) -> Result<Option<User>, StoreError> {
        let _turn = self.turn().await?;
        sqlx::query("UPDATE users SET display_name = ?2 WHERE id = ?1")
            .bind(id.0)
            .bind(display_name)
            .execute(self.writer())
            .await?;
        select_user(self.reader(), id).await
    }
}

async fn insert_user(
    connection: &mut SqliteConnection,
    user: &NewUser,
    now: Timestamp,
) -> Result<User, CreateUserError> {
    let inserted = sqlx::query(
        "INSERT INTO users (email, password_hash, display_name, role, created_at) VALUES (?, ?, ?, ?, ?)",
    )
    .bind(&user.email)
    .bind(&user.password_hash)
    .bind(&user.display_name)
    .bind(role_word(user.role))
    .bind(now.as_millis())
    .execute(connection)
    .await;
    match inserted {
        Ok(done) => Ok(User {
            id: UserId(done.last_insert_rowid()),
            email: user.email.clone(),
            display_name: user.display_name.clone(),
            role: user.role,
            created_at: now,
        }),
        // The address is the only unique column besides the generated id.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(CreateUserError::EmailTaken),
        Err(error) => Err(StoreError(error).into()),
    }
}

async fn select_user(pool: &SqlitePool, id: UserId) -> Result<Option<User>, StoreError> {
    let found: Option<UserRecord> =
        sqlx::query_as("SELECT id, email, display_name, role, created_at FROM users WHERE id = ?")
            .bind(id.0)
            .fetch_optional(pool)
            .await?;
    Ok(found.map(UserRecord::decode).transpose()?)
}
