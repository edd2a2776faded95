//! The promises of the order log on a real file.

use async_trait::async_trait;
use tempfile::TempDir;

use super::SqliteOrderLog;
use crate::{
    order_log::{
        conformance::{Fixture, conformance},
        port::{OrderLog, OrderLogReader},
    },
    store::sqlite::{SqliteSettings, SqliteStore},
};

struct File {
    log: SqliteOrderLog,
    store: SqliteStore,
    _dir: TempDir,
}

async fn open() -> File {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shop.db");
    let store = SqliteStore::open(path.to_str().unwrap(), &SqliteSettings::default()).await.unwrap();
    let log = SqliteOrderLog::start(store.writer().clone(), store.reader().clone(), 100);
    File { log, store, _dir: dir }
}

#[async_trait]
impl Fixture for File {
    fn log(&self) -> &dyn OrderLog {
        &self.log
    }

    async fn reader(&self) -> Box<dyn OrderLogReader> {
        Box::new(self.log.reader().await.unwrap())
    }

    async fn append_raw(&self, payload: &str) {
        sqlx::query("INSERT INTO order_log (pool_id, payload) VALUES ('promo:1', ?)")
            .bind(payload)
            .execute(self.store.writer())
            .await
            .unwrap();
    }

    async fn dead_letters(&self) -> Vec<(String, String)> {
        sqlx::query_as("SELECT payload, reason FROM dead_letters ORDER BY position")
            .fetch_all(self.store.reader())
            .await
            .unwrap()
    }

    async fn close(self) {}
}

conformance!(open);
