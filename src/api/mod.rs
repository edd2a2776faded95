//! The REST API and the web page: controllers that turn requests into the services' words and answers into JSON.
//!
//! Knows HTTP and the services. Decides nothing about the shop; [`problem`] alone decides what an error looks like.

mod check;
pub mod docs;
pub mod extract;
mod guard;
pub mod health;
mod item;
mod order;
mod page;
pub mod problem;
mod promo;
mod user;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    http::{StatusCode, header},
    middleware,
    response::IntoResponse,
};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;

use self::problem::{Code, Problem};
use crate::{
    domain::Currency,
    service::{
        item::ItemService, order::OrderService, promo::PromoService, token::Tokens, user::UserService,
    },
};

/// The longest body of a request.
const MAX_BODY: usize = 64 * 1024;

/// What the controllers work with.
#[derive(Clone)]
pub struct ApiState {
    pub users: Arc<UserService>,
    pub items: Arc<ItemService>,
    pub promos: Arc<PromoService>,
    pub orders: Arc<OrderService>,
    pub tokens: Arc<Tokens>,
    pub currency: Currency,
}

/// The API under `/api`, and its documentation. `time_limit` is how long a request may take.
pub fn router(state: ApiState, time_limit: Duration) -> Router {
    let (router, api) = described().split_for_parts();
    router
        .with_state(state)
        .merge(docs::router(&docs::complete(&api)))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(middleware::from_fn_with_state(time_limit, guard::limit_time))
}

/// Completes the server's router: the web page, problems for what no route answers, security headers on everything.
pub fn finish(router: Router) -> Router {
    router
        .fallback(page::serve)
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed))
        .layer(middleware::from_fn(guard::catch_panics))
        .layer(middleware::from_fn(guard::secure))
}

/// The description of the API, as it is served.
pub fn openapi() -> serde_json::Value {
    docs::complete(described().get_openapi())
}

fn described() -> OpenApiRouter<ApiState> {
    let api = OpenApiRouter::new()
        .merge(user::routes())
        .merge(item::routes())
        .merge(promo::routes())
        .merge(order::routes());
    OpenApiRouter::with_openapi(docs::base()).nest("/api/v1", api)
}

/// The answer to a request that has made something.
fn created(location: String, body: impl Serialize) -> impl IntoResponse {
    (StatusCode::CREATED, [(header::LOCATION, location)], Json(body))
}
