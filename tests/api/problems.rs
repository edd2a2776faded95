//! Whatever is wrong with a request is said as a problem.

use axum::{body::Body, http::header};
use panicbuy::{
    clock,
    domain::{Role, Timestamp, User, UserId},
};
use serde_json::{Value, json};

use crate::shop::{Shop, request};

#[tokio::test]
async fn unknown_paths_and_methods() {
    let shop = Shop::open().await;
    for path in ["/nothing", "/items/x", "/items/99", "//nothing", "//api"] {
        shop.get(path, None).await.expect_problem(404, "not_found");
    }
    let answer = shop.call("DELETE", "/items", None, Value::Null).await;
    let allow = answer.headers[header::ALLOW].to_str().unwrap().to_owned();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
    answer.expect_problem(405, "method_not_allowed");
    let answer = shop.call("POST", "//index.html", None, Value::Null).await;
    assert!(answer.headers[header::ALLOW].to_str().unwrap().contains("GET"));
    answer.expect_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn who_is_nobody_or_not_an_administrator_is_told_so() {
    let shop = Shop::open().await;
    let shopper = shop.shopper("ann@example.org").await;
    let body = json!({ "title": "Sneaker", "price_minor": 9900, "stock": 7 });
    let answer = shop.post("/items", None, body.clone()).await;
    assert_eq!(answer.headers[header::WWW_AUTHENTICATE], "Bearer realm=\"panicbuy\"");
    answer.expect_problem(401, "not_authenticated");
    shop.post("/items", Some("x"), body.clone()).await.expect_problem(401, "not_authenticated");
    shop.post("/items", Some(&shopper), body).await.expect_problem(403, "forbidden");

    let user = User {
        id: UserId(1),
        email: String::new(),
        display_name: String::new(),
        role: Role::Admin,
        created_at: Timestamp::default(),
    };
    let (old, _) = shop.state.tokens.issue(&user, clock::now().minus_millis(4_000_000));
    let answer = shop.get("/users/me", Some(&old)).await;
    assert!(answer.headers[header::WWW_AUTHENTICATE].to_str().unwrap().contains("invalid_token"));
    answer.expect_problem(401, "token_expired");
    shop.get("/items", Some(&old)).await.expect(200);
}

#[tokio::test]
async fn bodies_that_are_no_json_objects() {
    let shop = Shop::open().await;
    let send = async |content_type: &str, body: &str| {
        let request = request("POST", "/users", None).header("content-type", content_type);
        shop.send(request.body(Body::from(body.to_owned())).unwrap()).await
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
}

#[tokio::test]
async fn a_problem_has_all_its_members() {
    let shop = Shop::open().await;
    let problem = shop.get("/nothing", None).await.expect_problem(404, "not_found");
    let expected = json!({
        "type": "urn:panicbuy:problem:not_found", "title": "There is nothing here", "status": 404,
        "detail": "There is nothing here", "code": "not_found",
    });
    assert_eq!(problem, expected);
}

#[tokio::test]
async fn the_description_names_every_path_and_its_problems() {
    let shop = Shop::open().await;
    let api = shop.get("/openapi.json", None).await.expect(200);
    assert_eq!(api, panicbuy::api::openapi());
    for (path, method, status) in [
        ("/api/v1/users", "post", "409"),
        ("/api/v1/sessions", "post", "401"),
        ("/api/v1/users/me", "patch", "401"),
        ("/api/v1/items", "post", "403"),
        ("/api/v1/items/{id}/stock", "post", "409"),
        ("/api/v1/promos/{id}", "get", "404"),
        ("/api/v1/promos/{id}/draw", "get", "422"),
        ("/api/v1/promos/{id}/admission", "patch", "415"),
    ] {
        let response = &api["paths"][path][method]["responses"][status];
        assert!(
            response["content"]["application/problem+json"].is_object(),
            "{method} {path} {status}: {response}"
        );
    }
    let text = api.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(api["components"]["schemas"][name].is_object(), "{name} is not described");
    }
}
