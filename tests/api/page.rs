//! The web page, and the headers on everything.

use axum::{
    body::Body,
    http::{HeaderMap, header},
};

use crate::shop::{Shop, request};

#[tokio::test]
async fn the_page_is_served_and_kept_until_it_changes() {
    let shop = Shop::open().await;
    let page = shop.get("//", None).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.headers[header::CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(page.headers[header::CACHE_CONTROL], "no-cache");
    assert!(page.text.to_lowercase().starts_with("<!doctype html>"));
    let same = shop.get("//index.html", None).await;
    assert_eq!(same.headers[header::ETAG], page.headers[header::ETAG]);

    let again = request("GET", "//", None).header("if-none-match", &page.headers[header::ETAG]);
    let again = shop.send(again.body(Body::empty()).unwrap()).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));

    let script = shop.get("//app.js", None).await;
    assert_eq!(script.headers[header::CONTENT_TYPE], "text/javascript; charset=utf-8");
    for path in ["//../Cargo.toml", "//%2e%2e/Cargo.toml", "//css", "//nothing.js"] {
        shop.get(path, None).await.expect_problem(404, "not_found");
    }
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let shop = Shop::open().await;
    let policy = |headers: &HeaderMap| headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    for path in ["//", "/items", "/nothing", "//nothing", "/openapi.json", "//api/docs/"] {
        let answer = shop.get(path, None).await;
        assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(answer.headers[header::REFERRER_POLICY], "no-referrer", "{path}");
        assert_eq!(answer.headers["cross-origin-opener-policy"], "same-origin", "{path}");
        assert!(policy(&answer.headers).contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(policy(&answer.headers).contains("unsafe-inline"), path == "//api/docs/", "{path}");
    }
    assert_eq!(shop.get("/items", None).await.headers[header::CACHE_CONTROL], "no-store");
}

#[tokio::test]
async fn the_documentation_is_a_page() {
    let shop = Shop::open().await;
    assert_eq!(shop.get("//api/docs", None).await.status, 303);
    let page = shop.get("//api/docs/", None).await;
    assert_eq!(page.status, 200);
    assert!(page.text.contains("swagger"));
    assert!(shop.get("//api/docs/swagger-initializer.js", None).await.text.contains("/api/v1/openapi.json"));
}
