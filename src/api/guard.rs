//! What surrounds every answer: security headers, a time limit, and a net under panics.

use std::{panic::AssertUnwindSafe, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;

use super::{
    docs,
    problem::{Code, Problem},
};

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; img-src 'self' https: data:; connect-src 'self'; style-src 'self'; script-src 'self'; \
     object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
);

/// The documentation page styles itself.
const DOCS_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; img-src 'self' https: data:; connect-src 'self'; style-src 'self' 'unsafe-inline'; \
     script-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
);

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("permissions-policy"),
        HeaderValue::from_static("camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin")),
];

/// Adds the security headers; an answer that does not say how long it may be kept may not be kept.
pub(super) async fn secure(request: Request, next: Next) -> Response {
    let is_docs = request.uri().path().starts_with(docs::PAGE_PATH);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, if is_docs { DOCS_POLICY } else { POLICY });
    headers.extend(HEADERS);
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Gives up on a request that takes too long.
pub(super) async fn limit_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::unavailable(&"the request took too long").into_response(),
    }
}

/// Turns a handler's panic into an answer. The panic itself has been reported by the panic hook.
pub(super) async fn catch_panics(request: Request, next: Next) -> Response {
    AssertUnwindSafe(next.run(request)).catch_unwind().await.unwrap_or_else(|_| {
        metrics::counter!("panicbuy_panics_total").increment(1);
        Problem::new(Code::Internal).into_response()
    })
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, http::StatusCode, middleware, routing::get};
    use tower::ServiceExt;

    use super::*;

    async fn status(path: &str) -> StatusCode {
        let router = Router::new()
            .route("/slow", get(async || std::future::pending::<()>().await))
            .route("/broken", get(broken))
            .layer(middleware::from_fn_with_state(Duration::from_millis(1), limit_time))
            .layer(middleware::from_fn(catch_panics));
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        router.oneshot(request).await.unwrap().status()
    }

    async fn broken() {
        panic!("as the test wants it");
    }

    #[tokio::test]
    async fn a_handler_that_hangs_or_panics_gets_an_answer() {
        assert_eq!(status("/slow").await, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(status("/broken").await, StatusCode::INTERNAL_SERVER_ERROR);
    }
}
