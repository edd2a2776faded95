//! What only the embedded engines do, or only they can be made to do: one process, one file, a log that fails on command.

use panicbuy::{
    domain::Phase,
    gateway::protocol::{ClientFrame, ServerFrame},
    random,
    store::{
        port::Store as _,
        sqlite::{SqliteSettings, SqliteStore},
    },
};
use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::{
    crash::{SHOPPERS, prepare, restart_and_check, try_to_buy},
    support::{
        Server,
        client::Client,
        eventually,
        home::Home,
        process::Process,
        shop::{Sale, Shop},
    },
};

/// A shopper with an account on a server of its own process, which `failpoints` trouble.
async fn troubled(home: &Home, failpoints: &str, flags: &[&str]) -> (Process, Shop, Client) {
    let process = Process::start(home, failpoints, flags);
    let shop = Shop::visitor(process.address).register("buyer@shop.example").await;
    let (client, _) = Client::hello(process.address, shop.token.as_deref()).await;
    (process, shop, client)
}

/// The log takes longer than the shopper is kept waiting: "accepted" follows, and still before the outcome.
#[tokio::test(flavor = "multi_thread")]
async fn accepted_comes_before_the_outcome_even_if_it_comes_late() {
    let home = Home::new();
    let (process, _, mut client) =
        troubled(&home, "log.insert=1*sleep(600)->off", &["--confirm-timeout-ms", "50"]).await;
    let admin = Shop::admin(process.address).await;
    let promo = admin.publish(&Sale::default()).await;
    client.say(&ClientFrame::Join { promo_id: promo }).await;
    client.state(|state| state.phase == Phase::Admitted).await;
    client.forget();
    let request = client.order(promo).await;
    let mut accepted = None;
    loop {
        match client.next().await.unwrap() {
            ServerFrame::Accepted { request_id, order_id } if request_id == request => {
                accepted = Some(order_id);
            }
            ServerFrame::Outcome(outcome) => {
                assert_eq!(accepted, Some(outcome.order_id), "the outcome of an order nobody had accepted");
                break;
            }
            ServerFrame::Refused { reason, .. } => panic!("refused {reason:?} while units are held"),
            _ => {}
        }
    }
    process.kill();
}

/// While the log is down a repetition of an order that holds units is not refused, and a new order is.
#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_is_not_refused_while_the_log_is_down() {
    let home = Home::new();
    let flags = ["--relay-after-ms", "60000", "--confirm-timeout-ms", "100"];
    let (process, shop, _client) = troubled(&home, "log.insert=4*return->off", &flags).await;
    let item = Shop::admin(process.address).await.create_item(5).await;
    let order = json!({ "item_id": item, "quantity": 1, "request_id": random::uuid() });
    let (status, body) = shop.post("/api/v1/orders", order.clone()).await;
    assert_eq!((status, &body["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable")), "{body}");
    let accepted = || async {
        let (status, body) = shop.post("/api/v1/orders", order.clone()).await;
        assert_ne!(body["code"], "rate_limited");
        (status == StatusCode::ACCEPTED).then_some(body["order_id"].clone())
    };
    let first = eventually("the repetition to be accepted", accepted).await;
    assert_eq!(accepted().await, Some(first));
    let orders = shop.get("/api/v1/orders").await;
    assert_eq!(orders["data"].as_array().unwrap().len(), 1);
    process.kill();
}

/// The log finds out by itself that it is well again, and so does `/readyz`.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_well_again_says_so() {
    let home = Home::new();
    let (process, shop, _client) =
        troubled(&home, "log.insert=2*return->off", &["--relay-after-ms", "60000"]).await;
    let item = Shop::admin(process.address).await.create_item(5).await;
    let order = json!({ "item_id": item, "quantity": 1, "request_id": random::uuid() });
    shop.post("/api/v1/orders", order).await;
    let ready = || async { shop.call(Method::GET, "/readyz", None).await.0.is_success() };
    assert!(!ready().await);
    eventually("the server to be ready again", || async { ready().await.then_some(()) }).await;
    process.kill();
}

/// The log is down for longer than a pass lasts: the shopper is told that it ends later, and buys when the log is back.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_loses_a_pass_to_a_log_that_is_down() {
    let home = Home::new();
    // The append of an order and eleven probes, one each half second.
    let (process, shop, mut client) =
        troubled(&home, "log.insert=12*return->off", &["--relay-after-ms", "60000"]).await;
    let admin = Shop::admin(process.address).await;
    let other = admin.create_item(5).await;
    let promo = admin.publish(&Sale { pass_ttl_ms: 3_000, ..Sale::default() }).await;
    client.say(&ClientFrame::Join { promo_id: promo }).await;
    let told = client.state(|state| state.phase == Phase::Admitted).await;
    client.forget();
    let order = json!({ "item_id": other, "quantity": 1, "request_id": random::uuid() });
    shop.post("/api/v1/orders", order).await;

    client
        .state(|state| {
            assert_eq!(state.phase, Phase::Admitted, "the pass was lost: {state:?}");
            state.pass_expires_at > told.pass_expires_at
        })
        .await;
    let order = client.insist(promo).await;
    client.outcome(order).await;
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_do_not_serve_one_database() {
    let home = Home::new();
    let first = Process::start(&home, "", &[]);
    let said = Process::refused(&home);
    assert!(said.contains("another process serves"), "{said}");
    first.kill();
    Process::start(&home, "", &[]).kill();
}

/// The log refuses a few appends: the shopper is not told a lie, and hears "accepted" once the relay got it through.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_the_log_refused_is_relayed_and_answered() {
    let scene = prepare().await;
    let process = Process::start(&scene.home, "log.insert=2*return->off", &["--relay-after-ms", "200"]);
    let buyer = &scene.buyers[0];
    let order = try_to_buy(process.address, buyer, scene.promo).await.expect("accepted, later");
    let shop = Shop::visitor(process.address).with_token(&buyer.token);
    let path = format!("/api/v1/orders/{order}");
    eventually("the outcome", || async {
        Some(shop.get(&path).await).filter(|order| order["status"] == "awaiting_payment")
    })
    .await;
    process.kill();
}

/// While the log refuses, new orders are refused before anything is taken, and `/readyz` says what is missing.
#[tokio::test(flavor = "multi_thread")]
async fn orders_are_refused_while_the_log_is_down() {
    let scene = prepare().await;
    let process = Process::start(&scene.home, "log.insert=return", &["--relay-after-ms", "60000"]);
    let visitor = Shop::visitor(process.address);
    let promo = scene.promo;
    let order = || json!({ "promo_id": promo, "quantity": 1, "request_id": random::uuid() });
    let mut refused = 0;
    for buyer in &scene.buyers {
        let (mut client, _) = Client::join(process.address, &buyer.token, promo).await;
        if refused == 0 {
            client.state(|state| state.phase == Phase::Admitted).await;
        }
        let (status, body) = visitor.with_token(&buyer.token).post("/api/v1/orders", order()).await;
        assert!(!status.is_success(), "{body}");
        refused += u32::from(body["code"] == "unavailable");
    }
    assert!(refused > 0, "somebody was refused as unavailable");
    let (status, readiness) = visitor.call(reqwest::Method::GET, "/readyz", None).await;
    assert_eq!((status, &readiness["parts"]["order_log"]), (StatusCode::SERVICE_UNAVAILABLE, &json!(false)));
    process.kill();
    restart_and_check(scene, vec![None; SHOPPERS]).await;
}

/// A record that nobody can read goes to the dead letters and holds nothing up.
#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_record_does_not_stop_the_log() {
    let scene = prepare().await;
    poison(&scene.home).await;
    restart_and_check(scene, vec![None; SHOPPERS]).await;
}

async fn poison(home: &Home) {
    let url = format!("sqlite:{}", home.file("shop.db").display());
    let store = SqliteStore::open(&url, &SqliteSettings::default()).await.unwrap();
    for payload in ["noise", r#"{"v":1,"order_id":"019a0000-0000-7000-8000-000000000000","pool":"promo:1"}"#]
    {
        sqlx::query("INSERT INTO order_log (pool_id, payload) VALUES ('promo:1', ?)")
            .bind(payload)
            .execute(store.writer())
            .await
            .unwrap();
    }
    store.close().await;
}

/// Places outlive a deploy and a kill; so does a pass, whose time stands still meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn places_and_passes_outlive_the_process() {
    let scene = prepare().await;
    let home = &scene.home;
    let admin = |process: &Process| Shop::admin(process.address);
    let mut process = Process::start(home, "", &["--room-save-ms", "20"]);
    let sale = Sale { stock: 1, ..Sale::default() };
    let promo = admin(&process).await.publish(&sale).await;
    let (mut first, _) = Client::join(process.address, &scene.buyers[0].token, promo).await;
    let admitted = first.state(|state| state.phase == Phase::Admitted).await;
    for buyer in &scene.buyers[1..] {
        Client::join(process.address, &buyer.token, promo).await;
    }
    let everybody = format!("\"number\":{SHOPPERS},");
    let saved = || async {
        let file = std::fs::read_to_string(home.file("shop.db.rooms")).unwrap_or_default();
        file.contains(&everybody).then_some(())
    };
    eventually("the places to be saved", saved).await;

    for goodbye in [Process::terminate, Process::kill] {
        goodbye(process);
        process = Process::start(home, "", &[]);
        for (number, buyer) in (1..).zip(&scene.buyers) {
            let (_, welcome) = Client::hello(process.address, Some(&buyer.token)).await;
            let state = welcome.states.iter().find(|state| state.promo_id == promo).expect("a place");
            assert_eq!(state.number, Some(number));
            if number == 1 {
                assert_eq!(state.phase, Phase::Admitted);
                assert!(state.pass_expires_at >= admitted.pass_expires_at);
            }
        }
    }
    let order = try_to_buy(process.address, &scene.buyers[0], promo).await;
    assert!(order.is_some(), "the pass is still good");
    process.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_finds_units_that_are_missing() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let promo = admin.publish(&Sale { stock: 4, ..Sale::default() }).await;
    let sound = admin.audit(promo).await;
    assert_eq!(sound["database"], json!({ "initial": 4, "available": 4, "sold": 0 }));
    assert_eq!((&sound["promo_id"], &sound["ledger"]["available"]), (&json!(promo), &json!(4)));
    let theft = "UPDATE pools SET initial = initial - 1 WHERE id = ?1";
    let database = server.database().await;
    let done = sqlx::query(theft).bind(format!("promo:{promo}")).execute(database.writer()).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
    assert_eq!(admin.get(&format!("/api/v1/promos/{promo}/audit")).await["ok"], false);
    server.stop().await;
}
