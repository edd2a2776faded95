//! Accounts and sessions.

use serde_json::{Value, json};

use crate::support::{
    Server,
    shop::{Answer, Shop},
};

async fn log_in(shop: &Shop, email: &str, password: &str) -> Answer {
    shop.write("/api/v1/sessions", json!({ "email": email, "password": password })).await
}

async fn me(shop: &Shop) -> Value {
    shop.get("/api/v1/users/me").await
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_registers_logs_in_and_changes_their_name() {
    let server = Server::start().await;
    let visitor = Shop::visitor(server.address);
    let body = json!({
        "email": " Ann@Example.org", "password": "correct horse", "display_name": "Ann", "unknown": 1,
    });
    let registered = visitor.write("/api/v1/users", body).await;
    assert_eq!(registered.header("location"), "/api/v1/users/me");
    let user = registered.expect(201);
    assert_eq!(user["email"], "ann@example.org");
    assert_eq!(user["role"], "shopper");
    assert!(!user.to_string().contains("argon2"));

    let session = log_in(&visitor, "ANN@example.org", "correct horse").await.expect(201);
    assert_eq!(session["user"], user);
    assert!(session["expires_at"].as_str().unwrap().ends_with('Z'));
    let ann = visitor.with_token(session["token"].as_str().unwrap());

    assert_eq!(me(&ann).await, user);
    let renamed = ann.edit("/api/v1/users/me", json!({ "display_name": "Anna" })).await.expect(200);
    assert_eq!(renamed["display_name"], "Anna");
    let kept = ann.edit("/api/v1/users/me", json!({})).await.expect(200);
    assert_eq!(kept["display_name"], "Anna");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_email_address_is_taken_once() {
    let server = Server::start().await;
    let visitor = Shop::visitor(server.address);
    visitor.register("ann@example.org").await;
    let body = json!({ "email": "ANN@example.org", "password": "another one", "display_name": "Ann" });
    visitor.write("/api/v1/users", body).await.expect_problem(409, "email_taken");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_that_is_not_valid_is_named() {
    let server = Server::start().await;
    let body = json!({ "email": "ann", "password": "short", "display_name": "" });
    let answer = Shop::visitor(server.address).write("/api/v1/users", body).await;
    let problem = answer.expect_problem(422, "validation_failed");
    let fields: Vec<_> = problem["errors"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["display_name", "email", "password"]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_address_and_a_wrong_password_get_the_same_answer() {
    let server = Server::start().await;
    let visitor = Shop::visitor(server.address);
    visitor.register("ann@example.org").await;
    let refusal = async |email: &str| {
        let answer = log_in(&visitor, email, "wrong horse").await;
        assert!(answer.headers.contains_key("www-authenticate"));
        answer.expect_problem(401, "bad_credentials")
    };
    let known = refusal("ann@example.org").await;
    assert_eq!(known, refusal("nobody@example.org").await);
    assert_eq!(known, refusal("not an address").await);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_too_often_has_to_wait() {
    let server = Server::with(&["--logins-per-email-per-min", "5"]).await;
    let visitor = Shop::visitor(server.address);
    for _ in 0..5 {
        let guess = log_in(&visitor, "ann@example.org", "wrong horse").await;
        guess.expect_problem(401, "bad_credentials");
    }
    let limited = log_in(&visitor, "ann@example.org", "wrong horse").await;
    let wait: u32 = limited.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    limited.expect_problem(429, "rate_limited");
    let other = log_in(&visitor, "bob@example.org", "wrong horse").await;
    other.expect_problem(401, "bad_credentials");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_registers_test_shoppers_in_bulk() {
    let server = Server::start().await;
    let admin = Shop::admin(server.address).await;
    let answer = admin.write("/api/v1/users/bulk", json!({ "count": 3 })).await.expect(201);
    let shoppers = answer["data"].as_array().unwrap();
    assert_eq!(shoppers.len(), 3);
    for shopper in shoppers {
        let me = me(&admin.with_token(shopper["token"].as_str().unwrap())).await;
        assert_eq!((&me["id"], &me["role"]), (&shopper["user_id"], &json!("shopper")));
        let address = me["email"].as_str().unwrap();
        log_in(&admin, address, "!").await.expect_problem(401, "bad_credentials");
    }
    for count in [0, 1001] {
        let refused = admin.write("/api/v1/users/bulk", json!({ "count": count })).await;
        refused.expect_problem(422, "validation_failed");
    }
    let ann = Shop::visitor(server.address).register("ann@example.org").await;
    ann.write("/api/v1/users/bulk", json!({ "count": 1 })).await.expect_problem(403, "forbidden");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_is_made_once() {
    let server = Server::start().await;
    let first = me(&Shop::admin(server.address).await).await;
    assert_eq!(first["role"], "admin");
    let server = Server::at(server.stop().await, &[]).await;
    assert_eq!(me(&Shop::admin(server.address).await).await, first, "the next start finds them");
    server.stop().await;
}
