//! The API's own description.

use crate::support::{Server, shop::Shop};

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
