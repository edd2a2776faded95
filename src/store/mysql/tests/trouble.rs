//! Servers, networks and connections that fail.

use std::{slice, time::Duration};

use sqlx::mysql::MySqlDatabaseError;
use tokio::time::{Instant, timeout};

use super::{
    Database, Fixture, open,
    proxy::{Proxy, Wire},
    settings,
};
use crate::{
    domain::{PoolId, UserId},
    store::{
        conformance::{NOW, new_user, of_promo, posted, promo, shopper, units},
        mysql::{MysqlSettings, MysqlStore},
        port::{CreateUserError, OrderStore, StoreError, UserStore},
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_processes_may_open_an_empty_database_at_once() {
    let database = Database::create().await;
    let settings = settings();
    let open = || MysqlStore::open(&database.url, &settings);
    let (a, b, c, d) = tokio::join!(open(), open(), open(), open());
    for store in [a, b, c, d] {
        assert!(store.unwrap().pools().await.unwrap().is_empty());
    }
    MysqlStore::open(&database.url, &settings).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opening_is_bounded_and_wants_a_database() {
    let database = Database::create().await;
    let server = database.url.strip_suffix(&database.name).unwrap();
    assert!(MysqlStore::open(server, &settings()).await.is_err());
    assert!(MysqlStore::open("mysql://127.0.0.1:99999/shop", &settings()).await.is_err());

    let bounds = MysqlSettings {
        acquire_timeout: Duration::from_millis(300),
        migration_timeout: Duration::from_millis(900),
        ..settings()
    };
    let proxy = Proxy::start(&database.name).await;
    proxy.set(Wire::Stopped);
    let started = Instant::now();
    assert!(MysqlStore::open(&proxy.url, &bounds).await.is_err());
    // Another process is at the tables, and does not finish.
    let mut other = database.inside().await;
    other.run("DO GET_LOCK(CONCAT('panicbuy:', LEFT(SHA2(DATABASE(), 256), 32)), 9)").await;
    assert!(MysqlStore::open(&database.url, &bounds).await.is_err());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    other.run("DO RELEASE_LOCK(CONCAT('panicbuy:', LEFT(SHA2(DATABASE(), 256), 32)))").await;
    MysqlStore::open(&database.url, &settings()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_set_whatever_the_server_s_own_settings() {
    let Fixture { one, database: _database, .. } = open().await;
    let set = one.shop.read(|on, _| Box::pin(session(on))).await.unwrap();
    let is = |name: &str, value: &str| set.iter().any(|(n, v)| n.ends_with(name) && v.contains(value));
    assert!(is("autocommit", "ON") && is("innodb_lock_wait_timeout", "5"), "{set:?}");
    assert!(is("isolation", "READ-COMMITTED") && is("sql_mode", "STRICT_ALL_TABLES"), "{set:?}");
}

async fn session(connection: &mut sqlx::MySqlConnection) -> Result<Vec<(String, String)>, StoreError> {
    let sql = "SHOW SESSION VARIABLES WHERE Variable_name IN \
        ('autocommit', 'innodb_lock_wait_timeout', 'sql_mode', 'tx_isolation', 'transaction_isolation')";
    Ok(sqlx::query_as(sql).fetch_all(connection).await?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_connections_fail_no_call() {
    let Fixture { one, two, database } = open().await;
    let live = promo(&one, 50).await;
    let ann = shopper(&one).await;
    let mut admin = database.admin().await;
    for _ in 0..5 {
        // Idle connections of every kind, and more of them than a call has repetitions.
        let reads = [(); 6].map(|()| one.user(ann));
        futures_util::future::join_all(reads).await.into_iter().for_each(|user| assert!(user.is_ok()));
        futures_util::future::join_all([(); 6].map(|()| one.outbox(1))).await;
        admin.kill_all(&database).await;
        let order = of_promo(shopper(&one).await, &live, 1);
        assert_eq!(one.write_batch(slice::from_ref(&order), NOW).await.unwrap(), [posted()]);
        admin.kill_all(&database).await;
        two.pay(order.user_id, order.order_id, NOW).await.unwrap();
        two.ping().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_killed_in_the_middle_costs_only_time() {
    let Fixture { one, database, .. } = open().await;
    let live = promo(&one, 5).await;
    let batch = [of_promo(shopper(&one).await, &live, 1)];
    let mut admin = database.admin().await;
    let mut other = database.inside().await;
    other.run("START TRANSACTION").await;
    other.run("SELECT * FROM pools FOR UPDATE").await;
    let writer = {
        let store = one.clone();
        tokio::spawn(async move { store.write_batch(&batch, NOW).await })
    };
    admin.until_waiting(&database, 1).await;
    // The one that holds the locks among them.
    admin.kill_all(&database).await;
    assert_eq!(writer.await.unwrap().unwrap(), [posted()]);
    assert_eq!(units(&one, PoolId::Promo(live.id)).await, (5, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_commit_was_not_answered_is_written_once() {
    let Fixture { one, database, .. } = open().await;
    let proxy = Proxy::start(&database.name).await;
    let behind = MysqlStore::open(&proxy.url, &settings()).await.unwrap();
    let live = promo(&one, 5).await;
    let order = of_promo(shopper(&one).await, &live, 2);
    proxy.set(Wire::CutAtCommit);
    assert_eq!(behind.write_batch(slice::from_ref(&order), NOW).await.unwrap(), [posted()]);
    assert!(proxy.was_cut());
    assert_eq!(units(&one, PoolId::Promo(live.id)).await, (5, 2));

    proxy.set(Wire::CutAtCommit);
    behind.cancel(order.user_id, order.order_id).await.unwrap();
    assert!(proxy.was_cut());
    assert_eq!(units(&one, PoolId::Promo(live.id)).await, (5, 0));
    assert_eq!(one.outbox(9).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_whose_commit_was_not_answered_is_an_error_and_not_a_taken_address() {
    let Fixture { one, database, .. } = open().await;
    let proxy = Proxy::start(&database.name).await;
    let behind = MysqlStore::open(&proxy.url, &settings()).await.unwrap();
    behind.user(UserId(1)).await.unwrap();
    proxy.set(Wire::CutAtCommit);
    let new = new_user("ann@example.org");
    assert!(matches!(behind.create_user(&new, NOW).await, Err(CreateUserError::Store(_))));
    assert!(proxy.was_cut());
    assert!(matches!(behind.create_user(&new, NOW).await, Err(CreateUserError::EmailTaken)));
    assert!(one.user_by_email("ann@example.org").await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_holds_up_nobody_for_long() {
    let Fixture { one, database, .. } = open().await;
    let proxy = Proxy::start(&database.name).await;
    let bounds = MysqlSettings {
        acquire_timeout: Duration::from_millis(400),
        call_timeout: Duration::from_millis(600),
        ping_timeout: Duration::from_millis(200),
        ..settings()
    };
    let behind = MysqlStore::open(&proxy.url, &bounds).await.unwrap();
    let live = promo(&one, 5).await;
    let order = of_promo(shopper(&one).await, &live, 1);
    behind.ping().await.unwrap();
    behind.user(UserId(1)).await.unwrap();

    proxy.set(Wire::Stopped);
    let started = Instant::now();
    assert!(behind.ping().await.is_err());
    assert!(started.elapsed() < Duration::from_millis(400), "{:?}", started.elapsed());
    let calls = async {
        assert!(behind.write_batch(slice::from_ref(&order), NOW).await.is_err());
        assert!(behind.user(order.user_id).await.is_err());
        assert!(behind.create_user(&new_user("bob@example.org"), NOW).await.is_err());
    };
    timeout(Duration::from_secs(3), calls).await.expect("a call took longer than its bound");

    proxy.set(Wire::Open);
    while behind.ping().await.is_err() {}
    assert_eq!(behind.write_batch(&[order], NOW).await.unwrap(), [posted()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_nobody_waits_for_leaves_no_lock_behind() {
    let Fixture { one, database, .. } = open().await;
    let live = promo(&one, 5).await;
    let order = of_promo(shopper(&one).await, &live, 1);
    let mut other = database.inside().await;
    other.run("START TRANSACTION").await;
    other.run("SELECT * FROM pools FOR UPDATE").await;
    let abandoned = {
        let (store, order) = (one.clone(), order.clone());
        tokio::spawn(async move { store.write_batch(&[order], NOW).await })
    };
    let mut admin = database.admin().await;
    admin.until_waiting(&database, 1).await;
    abandoned.abort();
    other.run("COMMIT").await;
    assert_eq!(one.write_batch(&[order], NOW).await.unwrap(), [posted()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_data_forbids_is_permanent_and_what_passes_is_not() {
    let Fixture { one, database, .. } = open().await;
    let mut admin = database.inside().await;
    let mut permanent = async |sql: &str| {
        let error = admin.try_run(sql).await.unwrap_err();
        let number = error.as_database_error().unwrap().downcast_ref::<MySqlDatabaseError>().number();
        assert!(StoreError(error).is_permanent(), "{sql}: {number}");
    };
    permanent("INSERT INTO pools (id, initial, sold) VALUES ('promo:1', 1, 2)").await;
    permanent("INSERT INTO pools (id, initial) VALUES ('promo:1', NULL)").await;
    permanent("INSERT INTO leases VALUES ('a', '', 0), ('a', '', 0)").await;
    permanent(&format!("INSERT INTO leases VALUES ('{}', '', 0)", "a".repeat(65))).await;
    permanent("INSERT INTO leases VALUES ('a', '', 99999999999999999999)").await;

    let mut long = new_user("ann@example.org");
    long.display_name = "a".repeat(300);
    let Err(CreateUserError::Store(error)) = one.create_user(&long, NOW).await else {
        panic!("it was cut off")
    };
    assert!(error.is_permanent());
    assert!(
        admin
            .try_run("SELECT 1 FROM nowhere")
            .await
            .is_err_and(|error| { !StoreError(error).is_permanent() })
    );
}
