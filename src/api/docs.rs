//! The API's own description: `/api/v1/openapi.json`, and a page to read and try it at `/api/docs`.
//!
//! The handlers describe what they answer; the problems that follow from a request's shape (a body, a path, a token)
//! are the same everywhere and are added here.

use std::sync::Arc;

use axum::{Router, http::header, routing::get};
use serde_json::{Map, Value, json};
use utoipa::{OpenApi, PartialSchema};

use super::problem::{Code, MEDIA_TYPE, ProblemBody};

/// Where the description is.
pub const PATH: &str = "/api/v1/openapi.json";
/// Where the page is.
pub const PAGE_PATH: &str = "/api/docs";

/// `?limit=&after=` of a list.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is only described; extract::Paging reads it")]
pub(super) struct PageQuery {
    /// Rows at most.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<i64>,
}

/// `?limit=&after=` of a list of orders.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is only described; extract::Paging reads it")]
pub(super) struct OrderPageQuery {
    /// Rows at most.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<uuid::Uuid>,
}

/// `?limit=&after=` of a draw.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it is only described; extract::Paging reads it")]
pub(super) struct DrawQuery {
    /// Places at most.
    #[param(minimum = 1, maximum = 1000, default = 20)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<u64>,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "PanicBuying", description = "A real-time queueing gateway for flash sales."),
    tags((name = "users"), (name = "items"), (name = "promos"), (name = "orders")),
)]
struct Base;

/// The part of the description that is not of one handler.
pub(super) fn base() -> utoipa::openapi::OpenApi {
    Base::openapi()
}

/// Completes what the handlers have described.
pub(super) fn complete(api: &utoipa::openapi::OpenApi) -> Value {
    let mut api =
        serde_json::to_value(api).expect("a description of strings and numbers can be written as JSON");
    let scheme = json!({ "type": "http", "scheme": "bearer", "bearerFormat": "JWT" });
    api["components"]["securitySchemes"]["bearer"] = scheme;
    api["components"]["schemas"]["Problem"] = json!(ProblemBody::schema());
    let paths = api["paths"].as_object_mut().into_iter().flat_map(Map::values_mut);
    for operation in paths.filter_map(Value::as_object_mut).flat_map(Map::values_mut) {
        document_problems(operation);
    }
    api
}

/// Serves the description and the page.
pub(super) fn router<S: Clone + Send + Sync + 'static>(api: &Value) -> Router<S> {
    let text: Arc<str> = api.to_string().into();
    let config = utoipa_swagger_ui::Config::new([PATH]).try_it_out_enabled(true);
    Router::new()
        .route(PATH, get(async move || ([(header::CONTENT_TYPE, "application/json")], text.to_string())))
        .merge(utoipa_swagger_ui::SwaggerUi::new(PAGE_PATH).config(config))
}

fn document_problems(operation: &mut Value) {
    let mut statuses = vec![
        (Code::Unavailable, "`unavailable` or `not_ready`: the same may work in a moment"),
        (Code::Internal, "`internal`"),
    ];
    if operation.get("requestBody").is_some() {
        statuses.extend([
            (Code::MalformedJson, "`malformed_json`"),
            (Code::PayloadTooLarge, "`payload_too_large`"),
            (Code::UnsupportedMediaType, "`unsupported_media_type`"),
            (Code::ValidationFailed, "`validation_failed`, with `errors`"),
        ]);
    }
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    if parameters.iter().any(|parameter| parameter["in"] == "query") {
        statuses.push((Code::ValidationFailed, "`validation_failed`, with `errors`"));
    }
    if parameters.iter().any(|parameter| parameter["in"] == "path") {
        statuses.push((Code::NotFound, "`not_found`"));
    }
    let security = operation["security"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !security.is_empty() && !security.contains(&json!({})) {
        statuses.push((Code::NotAuthenticated, "`not_authenticated` or `token_expired`"));
    }
    if security.iter().any(|scheme| scheme["bearer"] == json!(["admin"])) {
        statuses.push((Code::Forbidden, "`forbidden`"));
    }
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    for (code, description) in statuses {
        let status = code.status().as_u16().to_string();
        responses.entry(status).or_insert_with(|| json!({ "description": description }));
    }
    for (status, response) in responses.iter_mut() {
        if status.starts_with(['4', '5']) {
            response["content"] =
                json!({ MEDIA_TYPE: { "schema": { "$ref": "#/components/schemas/Problem" } } });
        }
    }
}
