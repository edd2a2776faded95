//! Promos: drafts, their life, what is left of them, and what may be asked about them.

use panicbuy::{
    domain::{ItemId, Phase, PromoId, Seed, UserId},
    gateway::protocol::{ClientFrame, ServerFrame},
};
use serde_json::{Value, json};

use super::{HOUR_MS, open};
use crate::support::{
    client::Client,
    shop::{Answer, Sale, Shop, enrol},
};

/// A sale that has been open for an hour and lasts another one.
fn ongoing(stock: u32) -> Sale {
    Sale { lasts_ms: 2 * HOUR_MS.unsigned_abs(), ..opening_in(-1, stock) }
}

/// A sale that opens in so many hours and lasts one.
fn opening_in(hours: i64, stock: u32) -> Sale {
    Sale { stock, opens_in_ms: hours * HOUR_MS, lasts_ms: HOUR_MS.unsigned_abs(), ..Sale::default() }
}

async fn act(admin: &Shop, promo: PromoId, action: &str) -> Answer {
    admin.write(&format!("/api/v1/promos/{promo}/{action}"), Value::Null).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_see_a_draft() {
    let (server, admin, visitor) = open().await;
    let item = admin.create_item(10).await;
    let id = admin.draft(item, &ongoing(4)).await;
    let path = format!("/api/v1/promos/{id}");
    visitor.read(&path).await.expect_problem(404, "not_found");
    visitor.with_token("a token of nobody").read(&path).await.expect_problem(404, "not_found");
    assert_eq!(visitor.get("/api/v1/promos").await["data"], json!([]));
    let draft = admin.get(&path).await;
    assert_eq!((&draft["status"], &draft["available"]), (&json!("draft"), &json!(0)));
    assert_eq!(draft["per_user_limit"], 1);
    assert!(draft.get("seed").is_none());
    assert_eq!(admin.get("/api/v1/promos").await["data"][0], draft);
    visitor.read(&format!("{path}/draw")).await.expect_problem(404, "not_found");
    admin.read(&format!("{path}/audit")).await.expect_problem(409, "not_started");
    assert_eq!(visitor.item_stock(item).await, (10, 10));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_moves_the_stock_and_ending_brings_it_back() {
    let (server, admin, visitor) = open().await;
    let item = admin.create_item(10).await;
    let id = admin.draft(item, &ongoing(4)).await;
    let act = async |action: &str| act(&admin, id, action).await;
    act("pause").await.expect_problem(409, "wrong_stage");
    let published = act("publish").await.expect(200);
    assert_eq!((&published["status"], &published["available"]), (&json!("ongoing"), &json!(4)));
    assert_eq!(visitor.item_stock(item).await, (6, 6));
    assert_eq!(act("publish").await.expect(200), published);
    assert_eq!(visitor.item_stock(item).await, (6, 6));

    assert_eq!(act("resume").await.expect(200)["status"], "ongoing");
    assert_eq!(act("pause").await.expect(200)["status"], "paused");
    assert_eq!(act("pause").await.expect(200)["status"], "paused");
    assert_eq!(act("resume").await.expect(200)["status"], "ongoing");

    let ended = act("end").await.expect(200);
    assert_eq!((&ended["status"], &ended["available"]), (&json!("ended"), &json!(0)));
    assert_eq!(visitor.item_stock(item).await, (10, 10));
    assert_eq!(act("end").await.expect(200)["status"], "ended");
    assert_eq!(visitor.item_stock(item).await, (10, 10));
    act("publish").await.expect_problem(409, "wrong_stage");
    act("resume").await.expect_problem(409, "wrong_stage");
    assert_eq!(admin.audit(id).await["initial"], 0);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_publication_takes_nothing() {
    let (server, admin, visitor) = open().await;
    let item = admin.create_item(10).await;
    let much = admin.draft(item, &opening_in(0, 11)).await;
    act(&admin, much, "publish").await.expect_problem(409, "insufficient_stock");
    admin.put_on_sale(item, &opening_in(0, 4)).await;
    let half_an_hour_later = Sale { opens_in_ms: HOUR_MS / 2, ..opening_in(0, 4) };
    let overlapping = admin.draft(item, &half_an_hour_later).await;
    act(&admin, overlapping, "publish").await.expect_problem(409, "promo_overlap");
    let over = Sale { opens_in_ms: -2 * HOUR_MS, ..opening_in(0, 4) };
    let over = admin.draft(item, &over).await;
    act(&admin, over, "publish").await.expect_problem(409, "ended");
    act(&admin, PromoId(99), "publish").await.expect_problem(404, "not_found");
    assert_eq!(visitor.item_stock(item).await, (6, 6));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_twice_at_once_takes_the_stock_once() {
    let (server, admin, visitor) = open().await;
    let item = admin.create_item(10).await;
    let id = admin.draft(item, &opening_in(0, 4)).await;
    let (one, other) = tokio::join!(act(&admin, id, "publish"), act(&admin, id, "publish"));
    assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200));
    assert_eq!(visitor.item_stock(item).await, (6, 6));
    assert_eq!(admin.audit(id).await["ledger"]["available"], 4);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_shows_its_ongoing_or_next_promo() {
    let (server, admin, visitor) = open().await;
    let item = admin.create_item(10).await;
    let next = admin.put_on_sale(item, &opening_in(2, 1)).await;
    let shown = async || visitor.get(&format!("/api/v1/items/{item}")).await["promo"].clone();
    assert_eq!((&shown().await["id"], &shown().await["status"]), (&json!(next), &json!("scheduled")));
    assert!(shown().await.get("seed").is_none());
    let ongoing = admin.put_on_sale(item, &ongoing(1)).await;
    assert_eq!((&shown().await["id"], &shown().await["available"]), (&json!(ongoing), &json!(1)));
    assert_eq!(visitor.get("/api/v1/items").await["data"][0]["promo"]["id"], json!(ongoing));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_is_changed_while_it_runs() {
    let (server, admin, _) = open().await;
    let promo = admin.publish(&ongoing(4)).await;
    let (mut client, _) = Client::hello(server.address, None).await;
    client.say(&ClientFrame::Watch { promo_id: promo }).await;
    let path = format!("/api/v1/promos/{promo}/admission");
    let changed = admin.edit(&path, json!({ "rate_per_s": 77 })).await.expect(200);
    assert_eq!(changed["admission"], json!({ "rate_per_s": 77, "max_active": 1000, "pass_ttl_ms": 60_000 }));
    let at_work = |frame: &ServerFrame| matches!(frame, ServerFrame::Queue(queue) if queue.rate_per_s == 77);
    client.find(|frame| at_work(frame).then_some(())).await;
    drop(client);
    let refused = admin.edit(&path, json!({ "rate_per_s": 0, "pass_ttl_ms": 999 })).await;
    let problem = refused.expect_problem(422, "validation_failed");
    assert_eq!(problem["errors"].as_object().unwrap().len(), 2);
    let nowhere = admin.edit("/api/v1/promos/99/admission", json!({})).await;
    nowhere.expect_problem(404, "not_found");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_draw_can_be_checked_with_the_seed() {
    let (server, admin, visitor) = open().await;
    let later = admin.publish(&opening_in(2, 1)).await;
    visitor.read(&format!("/api/v1/promos/{later}/draw")).await.expect_problem(409, "not_started");

    let tokens = enrol(&server, 3).await;
    let sale = Sale { stock: 4, opens_in_ms: 2000, ..Sale::default() };
    let promo = admin.publish(&sale).await;
    let path = format!("/api/v1/promos/{promo}");
    let sealed = visitor.get(&path).await;
    assert!(sealed.get("seed").is_none(), "{sealed}");
    let mut lobby = Vec::new();
    for token in &tokens {
        let (client, joined) = Client::join(server.address, token, promo).await;
        assert_eq!(joined.phase, Phase::Lobby);
        let me = visitor.with_token(token).get("/api/v1/users/me").await;
        lobby.push((client, UserId(me["id"].as_i64().unwrap())));
    }
    let mut numbered = Vec::new();
    for (client, user) in &mut lobby {
        let number = client.state(|state| state.number.is_some()).await.number.unwrap();
        numbered.push((number, *user));
    }
    numbered.sort_unstable();
    drop(lobby);

    let opened = visitor.get(&path).await;
    assert_eq!(opened["seed_commit"], sealed["seed_commit"]);
    let seed = hex::decode(opened["seed"].as_str().unwrap()).unwrap();
    let seed = Seed(seed.try_into().unwrap());
    assert_eq!(sealed["seed_commit"], seed.commit().to_string());
    let keys: Vec<_> = numbered.iter().map(|(_, user)| seed.draw_key(promo, *user).to_string()).collect();
    assert!(keys.is_sorted(), "the numbers are in the order of the keys: {keys:?}");
    let first = visitor.get(&format!("{path}/draw?limit=2")).await;
    assert_eq!(first["data"], json!([{ "number": 1, "key": keys[0] }, { "number": 2, "key": keys[1] }]));
    assert_eq!(first["next"], 2);
    let rest = visitor.get(&format!("{path}/draw?limit=1000&after=2")).await;
    assert_eq!(rest, json!({ "data": [{ "number": 3, "key": keys[2] }], "next": null }));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bounds_are_kept() {
    let (server, admin, _) = open().await;
    let item = admin.create_item(10).await;
    let create = async |field: &str, body: Value| {
        let answer = admin.write("/api/v1/promos", body).await;
        let problem = answer.expect_problem(422, "validation_failed");
        assert!(problem["errors"][field].is_string(), "{problem}");
    };
    let with = |field: &str, value: Value| {
        let mut body = ongoing(4).of(item);
        body[field] = value;
        body
    };
    for (field, value) in [
        ("item_id", json!(ItemId(99))),
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
    create("ends_at", Sale { lasts_ms: 0, ..ongoing(4) }.of(item)).await;
    create("ends_at", Sale { lasts_ms: 31 * 24 * HOUR_MS.unsigned_abs(), ..ongoing(4) }.of(item)).await;
    let slow = json!({ "rate_per_s": 0, "max_active": 1, "pass_ttl_ms": 1000 });
    create("admission.rate_per_s", with("admission", slow)).await;
    create("admission.max_active", with("admission", json!({ "rate_per_s": 1, "pass_ttl_ms": 1000 }))).await;
    server.stop().await;
}
