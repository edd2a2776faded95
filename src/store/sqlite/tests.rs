//! The promises of the store on a real file, and what only this engine promises.

use tempfile::TempDir;

use super::{SqliteSettings, SqliteStore};
use crate::{
    domain::{NewUser, Role, Timestamp},
    store::{
        conformance::conformance,
        port::{OrderStore, Store as _, UserStore},
    },
};

/// Two stores on one file, as two processes would have it.
struct Fixture {
    one: SqliteStore,
    two: SqliteStore,
    dir: TempDir,
}

async fn open() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.db");
    let settings = SqliteSettings::default();
    let one = SqliteStore::open(path.to_str().unwrap(), &settings).await.unwrap();
    let two = SqliteStore::open(&format!("sqlite:{}", path.display()), &settings).await.unwrap();
    Fixture { one, two, dir }
}

conformance!(open);

#[tokio::test]
async fn the_connections_are_set_for_durability_and_readers_cannot_write() {
    let fixture = open().await;
    let writer = fixture.one.writer();
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(writer).await.unwrap();
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(writer).await.unwrap();
    let foreign_keys: i64 = sqlx::query_scalar("PRAGMA foreign_keys").fetch_one(writer).await.unwrap();
    assert_eq!((journal.as_str(), synchronous, foreign_keys), ("wal", 2, 1));
    assert!(sqlx::query("DELETE FROM users").execute(fixture.one.reader()).await.is_err());
}

#[tokio::test]
async fn a_closed_file_opens_again_with_what_was_in_it() {
    let fixture = open().await;
    let user = NewUser {
        email: "ann@example.org".to_owned(),
        password_hash: String::new(),
        display_name: "Ann".to_owned(),
        role: Role::Shopper,
    };
    let ann = fixture.one.create_user(&user, Timestamp::default()).await.unwrap();
    fixture.one.close().await;
    fixture.two.close().await;
    assert!(fixture.one.ping().await.is_err());
    let path = fixture.dir.path().join("shop.db");
    let again = SqliteStore::open(path.to_str().unwrap(), &SqliteSettings::default()).await.unwrap();
    assert_eq!(again.user(ann.id).await.unwrap(), Some(ann));
}

#[tokio::test]
async fn a_database_in_memory_is_refused() {
    for url in [":memory:", "sqlite::memory:", "sqlite:shop.db?mode=memory"] {
        assert!(SqliteStore::open(url, &SqliteSettings::default()).await.is_err(), "{url}");
    }
}

#[tokio::test]
async fn a_row_that_no_version_has_written_is_an_error() {
    let fixture = open().await;
    sqlx::query("INSERT INTO pools (id, initial) VALUES ('shelf:1', 1)")
        .execute(fixture.one.writer())
        .await
        .unwrap();
    let error = fixture.one.pools().await.unwrap_err();
    assert!(matches!(error.0, sqlx::Error::Decode(_)));
}
