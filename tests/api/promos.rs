//! Promos: drafts, their life, what is left of them, and what may be asked about them.

use panicbuy::{
    admission::port::WaitingRooms,
    clock,
    domain::{PromoId, Seed, UserId},
};
use serde_json::{Value, json};

use crate::shop::{Shop, promo};

const HOUR: i64 = 3_600_000;

#[tokio::test]
async fn only_administrators_see_a_draft() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let item = shop.item(&admin, 10).await;
    let id = shop.draft(&admin, item, 4, -HOUR, HOUR).await;
    let path = format!("/promos/{id}");
    shop.get(&path, None).await.expect_problem(404, "not_found");
    shop.get(&path, Some("a token of nobody")).await.expect_problem(404, "not_found");
    assert_eq!(shop.get("/promos", None).await.expect(200)["data"], json!([]));
    let draft = shop.get(&path, Some(&admin)).await.expect(200);
    assert_eq!((&draft["status"], &draft["available"]), (&json!("draft"), &json!(0)));
    assert_eq!(draft["per_user_limit"], 1);
    assert!(draft.get("seed").is_none());
    assert_eq!(shop.get("/promos", Some(&admin)).await.expect(200)["data"][0], draft);
    shop.get(&format!("{path}/draw"), None).await.expect_problem(404, "not_found");
    shop.get(&format!("{path}/audit"), Some(&admin)).await.expect_problem(409, "not_started");
    assert_eq!(shop.item_stock(item).await, (10, 10));
}

#[tokio::test]
async fn publishing_moves_the_stock_and_ending_brings_it_back() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let item = shop.item(&admin, 10).await;
    let id = shop.draft(&admin, item, 4, -HOUR, HOUR).await;
    let act = async |verb: &str| shop.post(&format!("/promos/{id}/{verb}"), Some(&admin), Value::Null).await;
    act("pause").await.expect_problem(409, "wrong_stage");
    let published = act("publish").await.expect(200);
    assert_eq!((&published["status"], &published["available"]), (&json!("ongoing"), &json!(4)));
    assert_eq!(shop.item_stock(item).await, (6, 6));
    assert_eq!(act("publish").await.expect(200), published);
    assert_eq!(shop.item_stock(item).await, (6, 6));

    assert_eq!(act("resume").await.expect(200)["status"], "ongoing");
    assert_eq!(act("pause").await.expect(200)["status"], "paused");
    assert_eq!(act("pause").await.expect(200)["status"], "paused");
    assert_eq!(act("resume").await.expect(200)["status"], "ongoing");

    let ended = act("end").await.expect(200);
    assert_eq!((&ended["status"], &ended["available"]), (&json!("ended"), &json!(0)));
    assert_eq!(shop.item_stock(item).await, (10, 10));
    assert_eq!(act("end").await.expect(200)["status"], "ended");
    assert_eq!(shop.item_stock(item).await, (10, 10));
    act("publish").await.expect_problem(409, "wrong_stage");
    act("resume").await.expect_problem(409, "wrong_stage");
    let audit = shop.get(&format!("/promos/{id}/audit"), Some(&admin)).await.expect(200);
    assert_eq!((&audit["ok"], &audit["initial"]), (&json!(true), &json!(0)));
}

#[tokio::test]
async fn a_refused_publication_takes_nothing() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let item = shop.item(&admin, 10).await;
    let publish =
        async |id: i64| shop.post(&format!("/promos/{id}/publish"), Some(&admin), Value::Null).await;
    let much = shop.draft(&admin, item, 11, 0, HOUR).await;
    publish(much).await.expect_problem(409, "insufficient_stock");
    shop.promo(&admin, item, 4, 0, HOUR).await;
    let overlapping = shop.draft(&admin, item, 4, HOUR / 2, 2 * HOUR).await;
    publish(overlapping).await.expect_problem(409, "promo_overlap");
    let over = shop.draft(&admin, item, 4, -2 * HOUR, -HOUR).await;
    publish(over).await.expect_problem(409, "ended");
    publish(99).await.expect_problem(404, "not_found");
    assert_eq!(shop.item_stock(item).await, (6, 6));
}

#[tokio::test]
async fn publishing_twice_at_once_takes_the_stock_once() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let item = shop.item(&admin, 10).await;
    let id = shop.draft(&admin, item, 4, 0, HOUR).await;
    let publish = async || shop.post(&format!("/promos/{id}/publish"), Some(&admin), Value::Null).await;
    let (one, other) = tokio::join!(publish(), publish());
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200));
    assert_eq!(shop.item_stock(item).await, (6, 6));
    assert_eq!(shop.promo_available(id).await, 4);
}

#[tokio::test]
async fn time_ends_a_promo_and_brings_its_stock_back() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let item = shop.item(&admin, 10).await;
    let id = shop.promo(&admin, item, 4, -HOUR, HOUR).await;
    let now = clock::now();
    shop.state.promos.act_on_time(now).await;
    assert_eq!(shop.item_stock(item).await, (6, 6));
    shop.state.promos.act_on_time(now.plus_millis(HOUR.unsigned_abs() + 1000)).await;
    assert_eq!(shop.item_stock(item).await, (10, 10));
    assert_eq!(shop.get(&format!("/promos/{id}"), None).await.expect(200)["status"], "ended");
}

#[tokio::test]
async fn units_that_lapse_after_the_end_go_back_too() {
    use panicbuy::{domain::PoolId, reservation::port::Reservations};
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let item = shop.item(&admin, 10).await;
    let id = shop.promo(&admin, item, 4, -HOUR, HOUR).await;
    // One unit is in an order while the promo ends, and is given up later.
    let pool = PoolId::Promo(PromoId(id));
    shop.engine.withdraw(pool, 1).await.unwrap();
    shop.post(&format!("/promos/{id}/end"), Some(&admin), Value::Null).await.expect(200);
    assert_eq!(shop.item_stock(item).await, (9, 9));
    shop.engine.deposit(pool, 1).await.unwrap();
    shop.state.promos.act_on_time(clock::now().plus_millis(5000)).await;
    assert_eq!(shop.item_stock(item).await, (10, 10));
}

#[tokio::test]
async fn an_item_shows_its_ongoing_or_next_promo() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let item = shop.item(&admin, 10).await;
    let next = shop.promo(&admin, item, 1, 2 * HOUR, 3 * HOUR).await;
    let shown = async || shop.get(&format!("/items/{item}"), None).await.expect(200)["promo"].clone();
    assert_eq!((&shown().await["id"], &shown().await["status"]), (&json!(next), &json!("scheduled")));
    assert!(shown().await.get("seed").is_none());
    let ongoing = shop.promo(&admin, item, 1, -HOUR, HOUR).await;
    assert_eq!((&shown().await["id"], &shown().await["available"]), (&json!(ongoing), &json!(1)));
    let list = shop.get("/items", None).await.expect(200);
    assert_eq!(list["data"][0]["promo"]["id"], ongoing);
}

#[tokio::test]
async fn admission_is_changed_while_it_runs() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let item = shop.item(&admin, 10).await;
    let id = shop.promo(&admin, item, 4, -HOUR, HOUR).await;
    let path = format!("/promos/{id}/admission");
    let changed = shop.call("PATCH", &path, Some(&admin), json!({ "rate_per_s": 77 })).await.expect(200);
    assert_eq!(changed["admission"], json!({ "rate_per_s": 77, "max_active": 100, "pass_ttl_ms": 60_000 }));
    assert_eq!(shop.engine.view(PromoId(id)).await.unwrap().rate_per_s, 77);
    let refused =
        shop.call("PATCH", &path, Some(&admin), json!({ "rate_per_s": 0, "pass_ttl_ms": 999 })).await;
    let problem = refused.expect_problem(422, "validation_failed");
    assert_eq!(problem["errors"].as_object().unwrap().len(), 2);
    let nowhere = shop.call("PATCH", "/promos/99/admission", Some(&admin), json!({})).await;
    nowhere.expect_problem(404, "not_found");
}

#[tokio::test]
async fn an_audit_finds_units_that_are_missing() {
    use panicbuy::{domain::PoolId, reservation::port::Reservations};
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let item = shop.item(&admin, 10).await;
    let id = shop.promo(&admin, item, 4, -HOUR, HOUR).await;
    let audit = async || shop.get(&format!("/promos/{id}/audit"), Some(&admin)).await.expect(200);
    let sound = audit().await;
    assert_eq!(sound["ok"], true);
    assert_eq!(sound["database"], json!({ "initial": 4, "available": 4, "sold": 0 }));
    assert_eq!((&sound["promo_id"], &sound["ledger"]["available"]), (&json!(id), &json!(4)));
    shop.engine.withdraw(PoolId::Promo(PromoId(id)), 1).await.unwrap();
    assert_eq!(audit().await["ok"], false);
}

#[tokio::test]
async fn the_draw_can_be_checked_with_the_seed() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let item = shop.item(&admin, 10).await;
    let later = shop.promo(&admin, item, 1, 2 * HOUR, 3 * HOUR).await;
    shop.get(&format!("/promos/{later}/draw"), None).await.expect_problem(409, "not_started");

    let id = shop.promo(&admin, item, 4, -HOUR, HOUR).await;
    let promo = shop.get(&format!("/promos/{id}"), None).await.expect(200);
    let seed = hex::decode(promo["seed"].as_str().unwrap()).unwrap();
    let seed = Seed(seed.try_into().unwrap());
    assert_eq!(promo["seed_commit"], seed.commit().to_string());

    // Three shoppers were in the lobby an hour ago.
    let early = clock::now().minus_millis(2 * HOUR.unsigned_abs());
    let mut keys = Vec::new();
    for user in [UserId(1), UserId(2), UserId(3)] {
        let key = seed.draw_key(PromoId(id), user);
        shop.engine.join(PromoId(id), user, key, early).await.unwrap();
        keys.push(key.to_string());
    }
    shop.engine.tick(PromoId(id), clock::now()).await.unwrap();
    keys.sort();
    let first = shop.get(&format!("/promos/{id}/draw?limit=2"), None).await.expect(200);
    assert_eq!(first["data"], json!([{ "number": 1, "key": keys[0] }, { "number": 2, "key": keys[1] }]));
    assert_eq!(first["next"], 2);
    let rest = shop.get(&format!("/promos/{id}/draw?limit=1000&after=2"), None).await.expect(200);
    assert_eq!(rest, json!({ "data": [{ "number": 3, "key": keys[2] }], "next": null }));
}

#[tokio::test]
async fn bounds_are_kept() {
    let shop = Shop::open().await;
    let admin = shop.admin().await;
    let item = shop.item(&admin, 10).await;
    let create = async |field: &str, body: Value| {
        let problem = shop.post("/promos", Some(&admin), body).await.expect_problem(422, "validation_failed");
        assert!(problem["errors"][field].is_string(), "{problem}");
    };
    let with = |field: &str, value: Value| {
        let mut body = promo(item, 4, 0, HOUR);
        body[field] = value;
        body
    };
    for (field, value) in [
        ("item_id", json!(99)),
        ("stock", json!(0)),
        ("per_user_limit", json!(0)),
        ("per_user_limit", json!(1001)),
        ("payment_window_ms", json!(999)),
        ("payment_window_ms", json!(604_800_001)),
        ("starts_at", json!("tomorrow")),
        ("admission", json!(7)),
    ] {
        create(field, with(field, value)).await;
    }
    create("ends_at", promo(item, 4, HOUR, HOUR)).await;
    create("ends_at", promo(item, 4, 0, 31 * 24 * HOUR)).await;
    let slow = json!({ "rate_per_s": 0, "max_active": 1, "pass_ttl_ms": 1000 });
    create("admission.rate_per_s", with("admission", slow)).await;
    create("admission.max_active", with("admission", json!({ "rate_per_s": 1, "pass_ttl_ms": 1000 }))).await;
}
