//! Items over REST.

use axum::{Json as Answer, extract::State, response::IntoResponse};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState,
    check::Checks,
    created,
    extract::{Admin, Json, Paging, Path},
    problem::{Code, Problem},
    promo::PromoBody,
};
use crate::{
    clock,
    domain::{Currency, Item, ItemId, ItemPatch, NewItem, Price, Timestamp},
    service::shelf::ShownItem,
    store::port::MAX_STOCK,
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(get, edit)).routes(routes!(restock))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = NewItem)]
struct NewItemBody {
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    #[serde(default)]
    #[schema(max_length = 5000)]
    description: String,
    /// `https://…`, `http://…` or a path that starts with `/`; empty for none.
    #[serde(default)]
    #[schema(max_length = 2000)]
    image_url: String,
    #[schema(minimum = 0, maximum = 10_000_000_000_i64)]
    price_minor: i64,
    #[schema(minimum = 0, maximum = 100_000_000)]
    stock: u32,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = ItemPatch)]
struct ItemPatchBody {
    #[schema(min_length = 1, max_length = 200)]
    title: Option<String>,
    #[schema(max_length = 5000)]
    description: Option<String>,
    #[schema(max_length = 2000)]
    image_url: Option<String>,
    #[schema(minimum = 0, maximum = 10_000_000_000_i64)]
    price_minor: Option<i64>,
}

#[derive(Deserialize, utoipa::ToSchema)]
struct Restock {
    /// Units to add, or, if negative, to take away.
    #[schema(minimum = -100_000_000, maximum = 100_000_000)]
    delta: i32,
}

/// An item as everybody sees it.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Item)]
pub(super) struct ItemBody {
    id: ItemId,
    title: String,
    description: String,
    image_url: String,
    price_minor: Price,
    #[schema(example = "EUR")]
    currency: String,
    /// Units that are not sold, without those allotted to promos.
    stock: u32,
    /// Units that can be ordered right now at the list price; null while the stock is being recovered.
    available: Option<u32>,
    /// The ongoing promo, or else the next one.
    promo: Option<PromoBody>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct ItemList {
    data: Vec<ItemBody>,
    /// The cursor of the next page, null on the last.
    next: Option<ItemId>,
}

impl ItemBody {
    fn new(shown: ShownItem, currency: Currency, now: Timestamp) -> Self {
        let item = shown.item;
        Self {
            id: item.id,
            title: item.title.clone(),
            description: item.description.clone(),
            image_url: item.image_url.clone(),
            price_minor: item.price,
            currency: currency.to_string(),
            stock: shown.stock,
            available: shown.available,
            promo: shown.promo.map(|promo| PromoBody::new(&promo, currency, now)),
        }
    }
}

/// Items in ascending order of id.
#[utoipa::path(get, path = "/items", tag = "items", params(super::docs::PageQuery), responses(
    (status = 200, body = ItemList),
))]
async fn list(State(state): State<ApiState>, paging: Paging<i64>) -> Result<Answer<ItemList>, Problem> {
    let now = clock::now();
    let (items, next) = state.items.items(paging.after.map(ItemId), paging.limit, now).await?;
    let data = items.into_iter().map(|item| ItemBody::new(item, state.currency, now)).collect();
    Ok(Answer(ItemList { data, next }))
}

/// One item.
#[utoipa::path(get, path = "/items/{id}", tag = "items", params(("id" = ItemId, Path)), responses(
    (status = 200, body = ItemBody),
))]
async fn get(State(state): State<ApiState>, Path(id): Path<ItemId>) -> Result<Answer<ItemBody>, Problem> {
    let now = clock::now();
    let item = state.items.item(id, now).await?.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(Answer(ItemBody::new(item, state.currency, now)))
}

/// Create an item.
#[utoipa::path(post, path = "/items", tag = "items", security(("bearer" = ["admin"])), request_body = NewItemBody,
    responses((status = 201, body = ItemBody, headers(("Location" = String)))))]
async fn create(
    State(state): State<ApiState>,
    _: Admin,
    Json(body): Json<NewItemBody>,
) -> Result<impl IntoResponse, Problem> {
    let mut checks = Checks::default();
    let item = NewItem {
        title: title(&mut checks, &body.title),
        description: checks.text("description", body.description, 0..=5000),
        image_url: image_url(&mut checks, &body.image_url),
        price: price(&mut checks, body.price_minor),
        stock: checks.number("stock", body.stock, 0..=MAX_STOCK),
    };
    checks.finish()?;
    let item = state.items.create(item, clock::now()).await?;
    let location = format!("/api/v1/items/{}", item.id);
    Ok(created(location, shown(&state, item).await?))
}

/// Edit an item. Fields that are absent stay as they are.
#[utoipa::path(patch, path = "/items/{id}", tag = "items", security(("bearer" = ["admin"])),
    params(("id" = ItemId, Path)), request_body = ItemPatchBody, responses((status = 200, body = ItemBody)))]
async fn edit(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<ItemId>,
    Json(body): Json<ItemPatchBody>,
) -> Result<Answer<ItemBody>, Problem> {
    let mut checks = Checks::default();
    let patch = ItemPatch {
        title: body.title.map(|text| title(&mut checks, &text)),
        description: body.description.map(|text| checks.text("description", text, 0..=5000)),
        image_url: body.image_url.map(|url| image_url(&mut checks, &url)),
        price: body.price_minor.map(|minor| price(&mut checks, minor)),
    };
    checks.finish()?;
    let item = state.items.edit(id, &patch).await?.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(Answer(shown(&state, item).await?))
}

/// Add stock, or take away what nobody has ordered.
#[utoipa::path(post, path = "/items/{id}/stock", tag = "items", security(("bearer" = ["admin"])),
    params(("id" = ItemId, Path)), request_body = Restock, responses(
    (status = 200, body = ItemBody),
    (status = 409, description = "`insufficient_stock`"),
))]
async fn restock(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<ItemId>,
    Json(body): Json<Restock>,
) -> Result<Answer<ItemBody>, Problem> {
    let max = i32::try_from(MAX_STOCK).unwrap_or(i32::MAX);
    let mut checks = Checks::default();
    let delta = checks.number("delta", body.delta, -max..=max);
    checks.finish()?;
    let item = state.items.restock(id, delta).await?;
    Ok(Answer(shown(&state, item).await?))
}

async fn shown(state: &ApiState, item: Item) -> Result<ItemBody, Problem> {
    let now = clock::now();
    Ok(ItemBody::new(state.items.shown(item, now).await?, state.currency, now))
}

pub(super) fn title(checks: &mut Checks, text: &str) -> String {
    checks.line("title", text, 1..=200)
}

pub(super) fn price(checks: &mut Checks, minor: i64) -> Price {
    Price(checks.number("price_minor", minor, 0..=Price::MAX.0))
}

fn image_url(checks: &mut Checks, text: &str) -> String {
    let url = checks.line("image_url", text, 0..=2000);
    let known = url.is_empty() || ["https://", "http://", "/"].iter().any(|start| url.starts_with(start));
    let message = "must start with https://, http:// or /, and have no spaces";
    checks.require("image_url", known && !url.contains(char::is_whitespace), message);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_image_url(text: &str) -> bool {
        let mut checks = Checks::default();
        image_url(&mut checks, text);
        checks.finish().is_ok()
    }

    #[test]
    fn an_image_is_on_the_web_or_here() {
        for good in ["", "/a.png", "http://example.org/a.png", "https://example.org/a.png"] {
            assert!(is_image_url(good), "{good:?}");
        }
        for bad in ["a.png", "javascript:alert(1)", "data:image/png;base64,", "https://a b", "HTTPS"] {
            assert!(!is_image_url(bad), "{bad:?}");
        }
        assert!(!is_image_url(&format!("/{}", "a".repeat(2000))));
    }
}
