//! Users.

use async_trait::async_trait;
use sqlx::{FromRow, MySql, MySqlConnection, QueryBuilder, Row};

use super::MysqlStore;
use crate::{
    domain::{NewUser, Timestamp, User, UserId},
    store::{
        port::{CreateUserError, StoreError, UserStore},
        rows::{UserRecord, role_word},
    },
};

#[async_trait]
impl UserStore for MysqlStore {
    /// Not made again after an unknown COMMIT: the address might be taken by this very call.
    async fn create_users(&self, users: &[NewUser], now: Timestamp) -> Result<Vec<User>, CreateUserError> {
        self.shop.once(|on, _| Box::pin(insert_users(on, users, now))).await
    }

    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        self.shop.read(|on, _| Box::pin(select_user(on, id))).await
    }

    async fn user_by_email(&self, email: &str) -> Result<Option<(User, String)>, StoreError> {
        self.shop.read(|on, _| Box::pin(select_with_hash(on, email))).await
    }

    async fn rename_user(&self, id: UserId, display_name: &str) -> Result<Option<User>, StoreError> {
        self.shop.repeatable(|on, _| Box::pin(rename(on, id, display_name))).await
    }
}

async fn insert_users(
    connection: &mut MySqlConnection,
    users: &[NewUser],
    now: Timestamp,
) -> Result<Vec<User>, CreateUserError> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let mut insert = QueryBuilder::<MySql>::new(
        "INSERT INTO users (email, password_hash, display_name, role, created_at) ",
    );
    insert.push_values(users, |mut values, user| {
        values
            .push_bind(&user.email)
            .push_bind(&user.password_hash)
            .push_bind(&user.display_name)
            .push_bind(role_word(user.role))
            .push_bind(now.as_millis());
    });
    match insert.build().execute(&mut *connection).await {
        Ok(_) => {}
        // The address is the only unique column besides the generated id.
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            return Err(CreateUserError::EmailTaken);
        }
        Err(error) => return Err(StoreError(error).into()),
    }
    // Servers of a cluster number rows in steps of their own, so the ids are read and not counted.
    let mut select = QueryBuilder::<MySql>::new(
        "SELECT id, email, display_name, role, created_at FROM users WHERE email IN (",
    );
    let mut addresses = select.separated(", ");
    for user in users {
        addresses.push_bind(&user.email);
    }
    select.push(") ORDER BY id");
    let created: Vec<UserRecord> = select.build_query_as().fetch_all(connection).await.map_err(StoreError)?;
    let created = created.into_iter().map(UserRecord::decode).collect::<Result<_, _>>();
    Ok(created.map_err(StoreError::from)?)
}

async fn select_user(connection: &mut MySqlConnection, id: UserId) -> Result<Option<User>, StoreError> {
    let found: Option<UserRecord> =
        sqlx::query_as("SELECT id, email, display_name, role, created_at FROM users WHERE id = ?")
            .bind(id.0)
            .fetch_optional(connection)
            .await?;
    Ok(found.map(UserRecord::decode).transpose()?)
}

async fn select_with_hash(
    connection: &mut MySqlConnection,
    email: &str,
) -> Result<Option<(User, String)>, StoreError> {
    let found = sqlx::query(
        "SELECT id, email, display_name, role, created_at, password_hash FROM users WHERE email = ?",
    )
    .bind(email)
    .fetch_optional(connection)
    .await?;
    let Some(row) = found else { return Ok(None) };
    let user = UserRecord::from_row(&row)?.decode()?;
    Ok(Some((user, row.try_get("password_hash")?)))
}

async fn rename(
    connection: &mut MySqlConnection,
    id: UserId,
    display_name: &str,
) -> Result<Option<User>, StoreError> {
    sqlx::query("UPDATE users SET display_name = ? WHERE id = ?")
        .bind(display_name)
        .bind(id.0)
        .execute(&mut *connection)
        .await?;
    select_user(connection, id).await
}
