//! Many writers on one database: locks, deadlocks, and what they must never lead to.

use std::{slice, sync::Arc};

use super::{Fixture, open};
use crate::{
    domain::{OrderId, PoolId, Promo, RequestId, UserId, Verdict},
    random,
    reservation::port::Reservation,
    store::{
        conformance::{NOW, WINDOW, of_promo, posted, promo, shopper, units},
        mysql::MysqlStore,
        port::{CloseError, OrderStore, PromoStore, Written},
    },
};

/// Orders of the promos by many shoppers, in batches that name the pools in ever other orders.
async fn batches(store: &MysqlStore, promos: &[Promo], count: usize, size: usize) -> Vec<Vec<Reservation>> {
    let mut shoppers = Vec::new();
    for _ in 0..size {
        shoppers.push(shopper(store).await);
    }
    let promo = |batch: usize, place: usize| &promos[(batch + place * (1 + batch % 2)) % promos.len()];
    let order =
        |batch: usize, place: usize| of_promo(shoppers[(place + batch) % size], promo(batch, place), 1);
    (0..count).map(|batch| (0..size).map(|place| order(batch, place)).collect()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_writers_and_shoppers_neither_fail_nor_oversell() {
    let Fixture { one, two, database: _database } = open().await;
    let mut promos = Vec::new();
    for _ in 0..3 {
        promos.push(promo(&one, 40).await);
    }
    let batches = Arc::new(batches(&one, &promos, 32, 20).await);
    let tasks = (0..8).map(|task| {
        let (store, batches) = (if task % 2 == 0 { one.clone() } else { two.clone() }, Arc::clone(&batches));
        tokio::spawn(async move {
            for batch in batches.iter().skip(task).step_by(8) {
                let written = store.write_batch(batch, NOW).await.unwrap();
                // Each written twice, as by two writers that both believe that it is theirs.
                assert_eq!(store.write_batch(batch, NOW).await.unwrap(), written);
                close_some(&store, batch, &written).await;
                store.expire_due(NOW.plus_millis(WINDOW), 3).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    for promo in &promos {
        let pool = PoolId::Promo(promo.id);
        let (initial, sold) = units(&one, pool).await;
        let orders = one.opening_orders(pool, true, NOW).await.unwrap();
        let live =
            orders.iter().filter(|order| ["awaiting_payment", "paid"].contains(&order.status.as_str()));
        assert_eq!(live.map(|order| order.quantity).sum::<u32>(), sold);
        assert!(sold <= initial);
    }
}

/// Pays the first posted order of the batch, and cancels the second; others may have expired them meanwhile.
async fn close_some(store: &MysqlStore, batch: &[Reservation], written: &[Written]) {
    let posted = |written: &Written| matches!(written, Written::Verdict(Verdict::Posted { .. }));
    let mut posted = batch.iter().zip(written).filter(|(_, written)| posted(written)).map(|(order, _)| order);
    for cancel in [false, true] {
        let Some(order) = posted.next() else { return };
        let closed = if cancel {
            store.cancel(order.user_id, order.order_id).await
        } else {
            store.pay(order.user_id, order.order_id, NOW).await
        };
        assert!(matches!(closed, Ok(_) | Err(CloseError::WrongStatus(_))), "{closed:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_victim_of_a_deadlock_is_made_again() {
    let Fixture { one, database, .. } = open().await;
    let (first, second) = (promo(&one, 5).await, promo(&one, 5).await);
    let ann = shopper(&one).await;
    let batch = [of_promo(ann, &second, 1), of_promo(ann, &first, 1)];
    let mut other = database.inside().await;
    other.run("START TRANSACTION").await;
    // The server gives up the transaction that has changed less: not this one.
    for lease in 0..50 {
        other.run(&format!("INSERT INTO leases VALUES ('{lease}', '', 0)")).await;
    }
    other.run(&format!("UPDATE pools SET initial = 6 WHERE id = 'promo:{}'", second.id)).await;
    let writer = {
        let store = one.clone();
        tokio::spawn(async move { store.write_batch(&batch, NOW).await })
    };
    database.admin().await.until_waiting(&database, 1).await;
    // The writer has the first pool and waits for the second; the other way round, both would wait for ever.
    other.run(&format!("UPDATE pools SET initial = 6 WHERE id = 'promo:{}'", first.id)).await;
    other.run("COMMIT").await;
    assert_eq!(writer.await.unwrap().unwrap(), [posted(), posted()]);
    assert_eq!(units(&one, PoolId::Promo(first.id)).await, (6, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_pool_holds_up_nobody_else() {
    let Fixture { one, database, .. } = open().await;
    let (busy, free) = (promo(&one, 5).await, promo(&one, 5).await);
    let bought = of_promo(shopper(&one).await, &busy, 1);
    assert_eq!(one.write_batch(slice::from_ref(&bought), NOW).await.unwrap(), [posted()]);
    let mut other = database.inside().await;
    other.run("START TRANSACTION").await;
    other.run(&format!("SELECT * FROM pools WHERE id = 'promo:{}' FOR UPDATE", busy.id)).await;

    let sold = of_promo(shopper(&one).await, &free, 1);
    assert_eq!(one.write_batch(slice::from_ref(&sold), NOW).await.unwrap(), [posted()]);
    one.cancel(sold.user_id, sold.order_id).await.unwrap();
    assert_eq!(one.return_stock(free.id, 1).await.unwrap(), 1);
    // A payment moves no units, so it does not wait for the pool either.
    one.pay(bought.user_id, bought.order_id, NOW).await.unwrap();
    other.run("ROLLBACK").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_at_two_pools_at_once_becomes_one_order() {
    let Fixture { one, two, database: _database } = open().await;
    let (left, right) = (promo(&one, 99).await, promo(&one, 99).await);
    let ann = shopper(&one).await;
    for _ in 0..20 {
        let request_id = RequestId(random::uuid());
        let order = |promo| Reservation { request_id, ..of_promo(ann, promo, 1) };
        let (here, there) = (order(&left), order(&right));
        let (mine, theirs) = tokio::join!(
            one.write_batch(slice::from_ref(&here), NOW),
            two.write_batch(slice::from_ref(&there), NOW),
        );
        let answers = [mine.unwrap()[0], theirs.unwrap()[0]];
        let impossible = answers.iter().filter(|answer| matches!(answer, Written::Impossible(_)));
        assert_eq!(impossible.count(), 1, "{answers:?}");
        let id = if matches!(answers[0], Written::Impossible(_)) { there.order_id } else { here.order_id };
        cancel(&one, ann, id).await;
    }
}

async fn cancel(store: &MysqlStore, user: UserId, id: OrderId) {
    // One that the limit rejected needs no cancelling.
    let cancelled = store.cancel(user, id).await;
    assert!(matches!(cancelled, Ok(_) | Err(CloseError::WrongStatus(_))), "{cancelled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_two_thousand_is_one_transaction() {
    const SIZE: usize = 2000;
    let Fixture { one, database, .. } = open().await;
    let live = promo(&one, 1500).await;
    let rows: Vec<String> =
        (1..=SIZE).map(|user| format!("({user}, '{user}', '', '', 'shopper', 0)")).collect();
    let insert = "INSERT INTO users (id, email, password_hash, display_name, role, created_at) VALUES";
    database.inside().await.run(&format!("{insert} {}", rows.join(","))).await;
    let users = (1..=i64::try_from(SIZE).unwrap()).map(UserId);
    let batch: Vec<Reservation> = users.map(|user| of_promo(user, &live, 1)).collect();
    let written = one.write_batch(&batch, NOW).await.unwrap();
    assert!(written[..1500].iter().all(|answer| *answer == posted()));
    assert!(written[1500..].iter().all(|answer| *answer != posted()));
    assert_eq!(one.write_batch(&batch, NOW).await.unwrap(), written);
    assert_eq!(units(&one, PoolId::Promo(live.id)).await, (1500, 1500));
    assert_eq!(one.expire_due(NOW.plus_millis(WINDOW), 2000).await.unwrap(), 1500);
    assert_eq!(units(&one, PoolId::Promo(live.id)).await, (1500, 0));
    let ids: Vec<i64> = one.outbox(2000).await.unwrap().iter().map(|entry| entry.id).collect();
    assert_eq!(ids.len(), 1500);
    one.outbox_done(&ids).await.unwrap();
    assert_eq!(one.outbox(1).await.unwrap(), []);
}
