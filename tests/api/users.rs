//! Accounts and sessions.

use axum::http::header;
use serde_json::json;

use crate::shop::{LOG_INS, Shop};

#[tokio::test]
async fn somebody_registers_logs_in_and_changes_their_name() {
    let shop = Shop::open().await;
    let body = json!({
        "email": " Ann@Example.org", "password": "correct horse", "display_name": "Ann", "unknown": 1,
    });
    let registered = shop.post("/users", None, body).await;
    assert_eq!(registered.headers[header::LOCATION], "/api/v1/users/me");
    let user = registered.expect(201);
    assert_eq!(user["email"], "ann@example.org");
    assert_eq!(user["role"], "shopper");
    assert!(!user.to_string().contains("argon2"));

    let body = json!({ "email": "ANN@example.org", "password": "correct horse" });
    let session = shop.post("/sessions", None, body).await.expect(201);
    assert_eq!(session["user"], user);
    assert!(session["expires_at"].as_str().unwrap().ends_with('Z'));
    let token = session["token"].as_str();

    assert_eq!(shop.get("/users/me", token).await.expect(200), user);
    let renamed = shop.call("PATCH", "/users/me", token, json!({ "display_name": "Anna" })).await;
    assert_eq!(renamed.expect(200)["display_name"], "Anna");
    let kept = shop.call("PATCH", "/users/me", token, json!({})).await.expect(200);
    assert_eq!(kept["display_name"], "Anna");
}

#[tokio::test]
async fn an_email_address_is_taken_once() {
    let shop = Shop::open().await;
    shop.shopper("ann@example.org").await;
    let body = json!({ "email": "ANN@example.org", "password": "another one", "display_name": "Ann" });
    shop.post("/users", None, body).await.expect_problem(409, "email_taken");
}

#[tokio::test]
async fn every_field_that_is_not_valid_is_named() {
    let shop = Shop::open().await;
    let body = json!({ "email": "ann", "password": "short", "display_name": "" });
    let problem = shop.post("/users", None, body).await.expect_problem(422, "validation_failed");
    let fields: Vec<_> = problem["errors"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["display_name", "email", "password"]);
}

#[tokio::test]
async fn an_unknown_address_and_a_wrong_password_get_the_same_answer() {
    let shop = Shop::open().await;
    shop.shopper("ann@example.org").await;
    let log_in = async |email: &str| {
        let answer = shop.post("/sessions", None, json!({ "email": email, "password": "wrong horse" })).await;
        assert!(answer.headers.contains_key(header::WWW_AUTHENTICATE));
        answer.expect_problem(401, "bad_credentials")
    };
    let known = log_in("ann@example.org").await;
    assert_eq!(known, log_in("nobody@example.org").await);
    assert_eq!(known, log_in("not an address").await);
}

#[tokio::test]
async fn who_guesses_too_often_has_to_wait() {
    let shop = Shop::open().await;
    let log_in = async |email: &str| {
        shop.post("/sessions", None, json!({ "email": email, "password": "wrong horse" })).await
    };
    for _ in 0..LOG_INS {
        log_in("ann@example.org").await.expect_problem(401, "bad_credentials");
    }
    let limited = log_in("ann@example.org").await;
    let wait: u32 = limited.headers[header::RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    limited.expect_problem(429, "rate_limited");
    log_in("bob@example.org").await.expect_problem(401, "bad_credentials");
}

#[tokio::test]
async fn an_administrator_is_made_once() {
    let shop = Shop::open().await;
    let (first, again) = (shop.admin().await, shop.admin().await);
    let me = shop.get("/users/me", Some(&first)).await.expect(200);
    assert_eq!(me["role"], "admin");
    assert_eq!(me, shop.get("/users/me", Some(&again)).await.expect(200));
}
