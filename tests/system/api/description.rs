//! The API's own description: where it is, and whether the server does what it says. (Every answer that the tests get
//! is held to it too, see `support::described`.)

use reqwest::Method;
use serde_json::{Value, json};

use super::open;
use crate::support::{
    Server, eventually,
    shop::{Sale, Shop, enrol},
};

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_is_a_page() {
    let server = Server::start().await;
    let visitor = Shop::visitor(server.address);
    let elsewhere = visitor.read("/api/docs").await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.header("location")), (303, "/api/docs/"));
    let page = visitor.read("/api/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("swagger"));
    let script = visitor.read("/api/docs/swagger-initializer.js").await;
    assert!(script.text.contains("/api/v1/openapi.json"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_names_every_path_and_its_problems() {
    let server = Server::start().await;
    let api = Shop::visitor(server.address).get("/api/v1/openapi.json").await;
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
    server.stop().await;
}

/// An operation of the description.
struct Operation {
    method: Method,
    path: String,
    described: Value,
}

impl Operation {
    async fn call(&self, shop: &Shop, path: &str) -> u16 {
        let has_body = self.described.get("requestBody").is_some();
        let body = if has_body { json!({}) } else { Value::Null };
        shop.ask(self.method.clone(), path, body).await.status.as_u16()
    }
}

/// Every operation of the description.
fn operations() -> Vec<Operation> {
    let api = panicbuy::api::openapi();
    let mut operations = Vec::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, described) in methods.as_object().unwrap() {
            let method = method.to_uppercase().parse().unwrap();
            operations.push(Operation { method, path: path.clone(), described: described.clone() });
        }
    }
    assert!(operations.len() >= 20, "{} operations", operations.len());
    operations
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_that_is_described_is_there() {
    let (server, admin, _) = open().await;
    let item = admin.create_item(10).await;
    let promo = admin.put_on_sale(item, &Sale::default()).await;
    let listed = admin.create_item(1).await;
    let order = json!({ "item_id": listed, "quantity": 1, "request_id": panicbuy::random::uuid() });
    let order = admin.write("/api/v1/orders", order).await.expect(202)["order_id"].clone();
    let order = order.as_str().unwrap();
    let posted = || async {
        let order = admin.get(&format!("/api/v1/orders/{order}")).await;
        (order["status"] == "awaiting_payment").then_some(())
    };
    eventually("the order to be posted", posted).await;

    for operation in operations() {
        let path = operation.path.replace("items/{id}", &format!("items/{item}"));
        let path = path.replace("promos/{id}", &format!("promos/{promo}"));
        let path = path.replace("{order_id}", order);
        assert!(!path.contains('{'), "{path}: what is this?");
        let status = operation.call(&admin, &path).await;
        assert!(status < 500 && ![404, 405].contains(&status), "{} {path}: {status}", operation.method);
    }
    server.stop().await;
}

/// The session comes first: whoever may not do a thing does not learn whether there is something to do it to.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_asks_for_the_session_that_is_described() {
    let (server, _, visitor) = open().await;
    let shopper = visitor.with_token(&enrol(&server, 1).await[0]);
    let no_id = "00000000-0000-7000-8000-000000000000";
    for operation in operations() {
        let path = operation.path.replace("{order_id}", no_id).replace("{id}", "99");
        let security = operation.described["security"].as_array().cloned().unwrap_or_default();
        let open_to_all = security.is_empty() || security.contains(&json!({}));
        let for_admins = security.contains(&json!({ "bearer": ["admin"] }));
        let what = format!("{} {path}", operation.method);
        assert_eq!(operation.call(&visitor, &path).await == 401, !open_to_all, "{what}, a visitor");
        assert_eq!(operation.call(&shopper, &path).await == 403, for_admins, "{what}, a shopper");
    }
    server.stop().await;
}
