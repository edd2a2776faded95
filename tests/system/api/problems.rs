//! Whatever is wrong with a request is said as a problem.

use panicbuy::{
    clock,
    domain::{Role, Timestamp, User, UserId},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::open;
use crate::support::{
    Server,
    shop::{Shop, enrol},
};

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_and_methods() {
    let server = Server::start().await;
    let visitor = Shop::visitor(server.address);
    for path in ["/api/v1/nothing", "/api/v1/items/x", "/api/v1/items/99", "/nothing", "/api"] {
        visitor.read(path).await.expect_problem(404, "not_found");
    }
    let answer = visitor.ask(Method::DELETE, "/api/v1/items", Value::Null).await;
    let allow = answer.header("allow");
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    answer.expect_problem(405, "method_not_allowed");
    let answer = visitor.write("/index.html", Value::Null).await;
    assert!(answer.header("allow").contains("GET"));
    answer.expect_problem(405, "method_not_allowed");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_nobody_or_not_an_administrator_is_told_so() {
    let (server, _, visitor) = open().await;
    let shopper = visitor.with_token(&enrol(&server, 1).await[0]);
    let body = json!({ "title": "Sneaker", "price_minor": 9900, "stock": 7 });
    let answer = visitor.write("/api/v1/items", body.clone()).await;
    assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"panicbuy\"");
    answer.expect_problem(401, "not_authenticated");
    let nobody = visitor.with_token("x").write("/api/v1/items", body.clone()).await;
    nobody.expect_problem(401, "not_authenticated");
    shopper.write("/api/v1/items", body).await.expect_problem(403, "forbidden");

    let user = User {
        id: UserId(1),
        email: String::new(),
        display_name: String::new(),
        role: Role::Admin,
        created_at: Timestamp::default(),
    };
    let two_days_ago = clock::now().minus_millis(48 * 3_600_000);
    let late = visitor.with_token(&server.services.tokens.issue(&user, two_days_ago).0);
    let answer = late.read("/api/v1/users/me").await;
    assert!(answer.header("www-authenticate").contains("invalid_token"));
    answer.expect_problem(401, "token_expired");
    late.read("/api/v1/items").await.expect(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_json_objects() {
    let server = Server::start().await;
    let visitor = Shop::visitor(server.address);
    let send = async |content_type: &str, body: &str| {
        let request = visitor.request(Method::POST, "/api/v1/users").header("content-type", content_type);
        visitor.send(request.body(body.to_owned())).await
    };
    for body in ["", "{", "nonsense", "{} {}", "[1, 2", r#"{"email": "#] {
        send("application/json", body).await.expect_problem(400, "malformed_json");
    }
    for body in ["[]", "7", "null", r#"["ann@example.org", "correct horse", "Ann"]"#] {
        let problem = send("application/json", body).await.expect_problem(422, "validation_failed");
        assert_eq!(problem["errors"]["body"], "must be a JSON object");
    }
    let problem =
        send("application/json; charset=utf-8", "{}").await.expect_problem(422, "validation_failed");
    assert_eq!(problem["errors"], json!({ "email": "is missing" }));
    send("text/plain", "{}").await.expect_problem(415, "unsupported_media_type");
    let long = format!(r#"{{"email": "{}"}}"#, "x".repeat(70_000));
    send("application/json", &long).await.expect_problem(413, "payload_too_large");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_has_all_its_members() {
    let server = Server::start().await;
    let answer = Shop::visitor(server.address).read("/api/v1/nothing").await;
    let expected = json!({
        "type": "urn:panicbuy:problem:not_found", "title": "There is nothing here", "status": 404,
        "detail": "There is nothing here", "code": "not_found",
    });
    assert_eq!(answer.expect_problem(404, "not_found"), expected);
    server.stop().await;
}
