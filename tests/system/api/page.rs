//! The web page, and the headers on everything.

use std::net::SocketAddr;

use reqwest::Method;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{Server, shop::Shop};

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_served_and_kept_until_it_changes() {
    let server = Server::start().await;
    let visitor = Shop::visitor(server.address);
    let page = visitor.read("/").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-cache");
    assert!(page.text.to_lowercase().starts_with("<!doctype html>"));
    let same = visitor.read("/index.html").await;
    assert_eq!(same.header("etag"), page.header("etag"));

    let again = visitor.request(Method::GET, "/").header("if-none-match", page.header("etag"));
    let again = visitor.send(again).await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    let head = visitor.send(visitor.request(Method::HEAD, "/")).await;
    assert_eq!((head.status.as_u16(), head.text.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), page.text.len().to_string());

    let script = visitor.read("/app.js").await;
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    for path in ["/css", "/nothing.js"] {
        visitor.read(path).await.expect_problem(404, "not_found");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_path_leads_out_of_the_page() {
    let server = Server::start().await;
    for path in ["/../Cargo.toml", "/%2e%2e/Cargo.toml", "/css/../../Cargo.toml", "//etc/passwd"] {
        let answer = untidied(server.address, path).await;
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
        assert!(answer.contains("application/problem+json"), "{path}: {answer}");
        assert!(answer.contains("\"code\":\"not_found\""), "{path}: {answer}");
    }
    server.stop().await;
}

/// The answer to a path that a well-behaved client would shorten before it asks.
async fn untidied(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_guarded() {
    let server = Server::start().await;
    let visitor = Shop::visitor(server.address);
    let everything = [
        "/",
        "/nothing",
        "/metrics",
        "/ws",
        "/api/docs/",
        "/api/v1/items",
        "/api/v1/nothing",
        "/api/v1/openapi.json",
    ];
    for path in everything {
        let answer = visitor.read(path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin", "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
        assert_eq!(policy.contains("unsafe-inline"), path == "/api/docs/", "{path}");
    }
    assert_eq!(visitor.read("/api/v1/items").await.header("cache-control"), "no-store");
    server.stop().await;
}
