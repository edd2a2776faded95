//! Orders over REST: the same pipeline as the socket's `order` frame, and what becomes of an order later.

use axum::{
    Json as Answer,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    ApiState,
    docs::OrderPageQuery,
    extract::{Auth, Json, Paging, Path},
    problem::{Code, Problem},
};
use crate::{
    domain::{Currency, ItemId, Order, OrderId, OrderStatus, Price, PromoId, Reason, RequestId, Timestamp},
    service::order::{Placed, Target, Wish},
};

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list, place))
        .routes(routes!(get))
        .routes(routes!(pay))
        .routes(routes!(cancel))
}

/// An order: for a promo or for an item, not for both.
#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = NewOrder)]
struct NewOrderBody {
    promo_id: Option<PromoId>,
    item_id: Option<ItemId>,
    #[schema(minimum = 1)]
    quantity: u32,
    /// The client's own name for this attempt: a repeated one gets the first answer again.
    request_id: RequestId,
}

/// An order that was accepted just now.
#[derive(Serialize, utoipa::ToSchema)]
struct AcceptedBody {
    order_id: OrderId,
    status: OrderStatus,
}

/// An order as its shopper sees it.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Order)]
struct OrderBody {
    order_id: OrderId,
    item_id: ItemId,
    promo_id: Option<PromoId>,
    quantity: u32,
    /// Of one unit.
    price_minor: Price,
    total_minor: Price,
    #[schema(example = "EUR")]
    currency: String,
    status: OrderStatus,
    /// Why the order was rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    created_at: Timestamp,
    /// The end of the payment window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pay_before: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_at: Option<Timestamp>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct OrderList {
    data: Vec<OrderBody>,
    /// The cursor of the next page, null on the last.
    next: Option<OrderId>,
}

impl OrderBody {
    fn new(order: &Order, currency: Currency) -> Self {
        Self {
            order_id: order.id,
            item_id: order.item_id,
            promo_id: order.promo_id,
            quantity: order.quantity,
            price_minor: order.price,
            total_minor: Price(order.price.0.saturating_mul(i64::from(order.quantity))),
            currency: currency.to_string(),
            status: order.status,
            reason: order.reason,
            created_at: order.created_at,
            pay_before: order.pay_before,
            paid_at: order.paid_at,
        }
    }
}

/// The shopper's orders, newest first.
#[utoipa::path(get, path = "/orders", tag = "orders", security(("bearer" = [])), params(OrderPageQuery), responses(
    (status = 200, body = OrderList),
))]
async fn list(
    State(state): State<ApiState>,
    Auth(identity): Auth,
    paging: Paging<Uuid>,
) -> Result<Answer<OrderList>, Problem> {
    let limit = paging.limit as usize;
    let before = paging.after.map(OrderId);
    let mut orders = state.orders.list(identity.user_id, before, paging.limit + 1).await?;
    let more = orders.len() > limit;
    orders.truncate(limit);
    let next = orders.last().filter(|_| more).map(|order| order.id);
    let data = orders.iter().map(|order| OrderBody::new(order, state.currency)).collect();
    Ok(Answer(OrderList { data, next }))
}

/// Place an order. While the item has an ongoing promo, it needs a pass and gets the promo's price.
#[utoipa::path(post, path = "/orders", tag = "orders", security(("bearer" = [])), request_body = NewOrderBody, responses(
    (status = 202, body = AcceptedBody, description = "Durable: an outcome will follow", headers(("Location" = String))),
    (status = 400, description = "`bad_request`: no such promo or item, or not so many"),
    (status = 409, description = "`not_started`, `paused`, `ended`, `no_pass`, `limit_reached` or `sold_out`: nothing was taken"),
    (status = 429, description = "`rate_limited`"),
))]
async fn place(
    State(state): State<ApiState>,
    Auth(identity): Auth,
    Json(body): Json<NewOrderBody>,
) -> Result<impl IntoResponse, Problem> {
    let target = match (body.promo_id, body.item_id) {
        (Some(promo), None) => Target::Promo(promo),
        (None, Some(item)) => Target::Item(item),
        _ => return Err(Problem::invalid_field("promo_id", "name a promo or an item, not both")),
    };
    let NewOrderBody { quantity, request_id, .. } = body;
    let wish = Wish { user_id: identity.user_id, request_id, target, quantity };
    match state.orders.place(wish).await {
        Placed::Accepted(order_id) | Placed::AcceptedBefore { order_id, .. } => {
            let found = state.orders.get(identity.user_id, order_id).await?;
            let status = found.map_or(OrderStatus::Pending, |order| order.status);
            let location = [(header::LOCATION, format!("/api/v1/orders/{order_id}"))];
            Ok((StatusCode::ACCEPTED, location, Answer(AcceptedBody { order_id, status })))
        }
        Placed::Refused { reason, retry_after_ms } => {
            let problem = Problem::from(reason);
            Err(retry_after_ms.into_iter().fold(problem, Problem::retry_after_ms))
        }
        Placed::Unconfirmed => Err(Problem::new(Code::Unavailable)
            .detail("the order is not confirmed yet: repeat it with the same request_id to hear more")),
    }
}

/// One of the shopper's orders.
#[utoipa::path(get, path = "/orders/{order_id}", tag = "orders", security(("bearer" = [])),
    params(("order_id" = OrderId, Path)), responses((status = 200, body = OrderBody)))]
async fn get(
    State(state): State<ApiState>,
    Auth(identity): Auth,
    Path(id): Path<OrderId>,
) -> Result<Answer<OrderBody>, Problem> {
    let found = state.orders.get(identity.user_id, id).await?;
    let order = found.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(Answer(OrderBody::new(&order, state.currency)))
}

/// Pay inside the payment window. Paid already: the same answer.
#[utoipa::path(post, path = "/orders/{order_id}/pay", tag = "orders", security(("bearer" = [])),
    params(("order_id" = OrderId, Path)), responses(
        (status = 200, body = OrderBody),
        (status = 409, description = "`wrong_status`: pending, cancelled, expired or rejected"),
    ))]
async fn pay(
    State(state): State<ApiState>,
    Auth(identity): Auth,
    Path(id): Path<OrderId>,
) -> Result<Answer<OrderBody>, Problem> {
    let order = state.orders.pay(identity.user_id, id).await?;
    Ok(Answer(OrderBody::new(&order, state.currency)))
}

/// Give an unpaid order back. Cancelled already: the same answer.
#[utoipa::path(post, path = "/orders/{order_id}/cancel", tag = "orders", security(("bearer" = [])),
    params(("order_id" = OrderId, Path)), responses(
        (status = 200, body = OrderBody),
        (status = 409, description = "`wrong_status`: pending, paid, expired or rejected"),
    ))]
async fn cancel(
    State(state): State<ApiState>,
    Auth(identity): Auth,
    Path(id): Path<OrderId>,
) -> Result<Answer<OrderBody>, Problem> {
    let order = state.orders.cancel(identity.user_id, id).await?;
    Ok(Answer(OrderBody::new(&order, state.currency)))
}
