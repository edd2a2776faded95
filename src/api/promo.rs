//! Promos over REST: the calls. What goes in and out, and the checks of it, are in [`body`].

use axum::{Json as Answer, extract::State, response::IntoResponse};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState, created,
    extract::{Admin, Auth, Json, Paging, Path},
    problem::{Code, Problem},
};
use crate::{
    clock,
    domain::{Promo, PromoId, Role},
};

use body::{AdmissionPatchBody, AuditBody, DrawList, DrawnPlace, NewPromoBody, PromoList};

mod body;

pub(super) use body::PromoBody;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get))
        .routes(routes!(publish))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(end))
        .routes(routes!(set_admission))
        .routes(routes!(audit))
        .routes(routes!(draw))
}

/// Promos in ascending order of id. Administrators also see drafts.
#[utoipa::path(get, path = "/promos", tag = "promos", security((), ("bearer" = [])),
    params(super::docs::PageQuery), responses((status = 200, body = PromoList)))]
async fn list(
    State(state): State<ApiState>,
    auth: Option<Auth>,
    paging: Paging<i64>,
) -> Result<Answer<PromoList>, Problem> {
    let after = paging.after.map(PromoId);
    let (promos, next) = state.promos.promos(after, paging.limit, sees_drafts(auth.as_ref())).await?;
    let now = clock::now();
    let data = promos.iter().map(|promo| PromoBody::new(promo, state.currency, now)).collect();
    Ok(Answer(PromoList { data, next }))
}

/// One promo. Only administrators see a draft.
#[utoipa::path(get, path = "/promos/{id}", tag = "promos", security((), ("bearer" = [])),
    params(("id" = PromoId, Path)), responses((status = 200, body = PromoBody)))]
async fn get(
    State(state): State<ApiState>,
    auth: Option<Auth>,
    Path(id): Path<PromoId>,
) -> Result<Answer<PromoBody>, Problem> {
    let promo = state.promos.promo(id, sees_drafts(auth.as_ref())).await?;
    let promo = promo.ok_or_else(|| Problem::new(Code::NotFound))?;
    Ok(Answer(PromoBody::new(&promo, state.currency, clock::now())))
}

/// Draft a promo.
#[utoipa::path(post, path = "/promos", tag = "promos", security(("bearer" = ["admin"])),
    request_body = NewPromoBody, responses((status = 201, body = PromoBody, headers(("Location" = String)))))]
async fn create(
    State(state): State<ApiState>,
    _: Admin,
    Json(body): Json<NewPromoBody>,
) -> Result<impl IntoResponse, Problem> {
    let promo = state.promos.create(body.check()?, clock::now()).await?;
    let location = format!("/api/v1/promos/{}", promo.id);
    Ok(created(location, shown(&state, promo).await.0))
}

/// Publish a draft: its stock leaves the item's, and the lobby opens.
#[utoipa::path(post, path = "/promos/{id}/publish", tag = "promos", security(("bearer" = ["admin"])),
    params(("id" = PromoId, Path)), responses(
    (status = 200, body = PromoBody),
    (status = 409, description = "`insufficient_stock`, `promo_overlap`, `wrong_stage` or `ended`"),
))]
async fn publish(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<PromoId>,
) -> Result<Answer<PromoBody>, Problem> {
    let promo = state.promos.publish(id, clock::now()).await?;
    Ok(shown(&state, promo).await)
}

/// Hold a promo: no passes, no orders.
#[utoipa::path(post, path = "/promos/{id}/pause", tag = "promos", security(("bearer" = ["admin"])),
    params(("id" = PromoId, Path)), responses(
    (status = 200, body = PromoBody),
    (status = 409, description = "`wrong_stage`"),
))]
async fn pause(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<PromoId>,
) -> Result<Answer<PromoBody>, Problem> {
    let promo = state.promos.pause(id).await?;
    Ok(shown(&state, promo).await)
}

/// Let a paused promo go on.
#[utoipa::path(post, path = "/promos/{id}/resume", tag = "promos", security(("bearer" = ["admin"])),
    params(("id" = PromoId, Path)), responses(
    (status = 200, body = PromoBody),
    (status = 409, description = "`wrong_stage`"),
))]
async fn resume(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<PromoId>,
) -> Result<Answer<PromoBody>, Problem> {
    let promo = state.promos.resume(id).await?;
    Ok(shown(&state, promo).await)
}

/// End a promo: its unsold stock goes back to the item.
#[utoipa::path(post, path = "/promos/{id}/end", tag = "promos", security(("bearer" = ["admin"])),
    params(("id" = PromoId, Path)), responses(
    (status = 200, body = PromoBody),
    (status = 409, description = "`wrong_stage`"),
))]
async fn end(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<PromoId>,
) -> Result<Answer<PromoBody>, Problem> {
    let promo = state.promos.end(id, clock::now()).await?;
    Ok(shown(&state, promo).await)
}

/// Change the waiting room, also while it runs. Fields that are absent stay as they are.
#[utoipa::path(patch, path = "/promos/{id}/admission", tag = "promos", security(("bearer" = ["admin"])),
    params(("id" = PromoId, Path)), request_body = AdmissionPatchBody, responses(
    (status = 200, body = PromoBody),
    (status = 409, description = "`wrong_stage`"),
))]
async fn set_admission(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<PromoId>,
    Json(body): Json<AdmissionPatchBody>,
) -> Result<Answer<PromoBody>, Problem> {
    let promo = state.promos.set_admission(id, body.check()?).await?;
    Ok(shown(&state, promo).await)
}

/// Conservation of a promo's stock, from the ledger and from the database.
#[utoipa::path(get, path = "/promos/{id}/audit", tag = "promos", security(("bearer" = ["admin"])),
    params(("id" = PromoId, Path)), responses(
    (status = 200, body = AuditBody),
    (status = 409, description = "`not_started`: a draft has no stock yet"),
))]
async fn audit(
    State(state): State<ApiState>,
    _: Admin,
    Path(id): Path<PromoId>,
) -> Result<Answer<AuditBody>, Problem> {
    Ok(Answer(AuditBody::new(id, state.promos.audit(id).await?)))
}

/// The numbered lobby: who knows the seed and a user's id can check that user's place.
#[utoipa::path(get, path = "/promos/{id}/draw", tag = "promos",
    params(("id" = PromoId, Path), super::docs::DrawQuery), responses(
    (status = 200, body = DrawList),
    (status = 409, description = "`not_started`"),
))]
async fn draw(
    State(state): State<ApiState>,
    Path(id): Path<PromoId>,
    paging: Paging<u64, 1000>,
) -> Result<Answer<DrawList>, Problem> {
    let limit = usize::try_from(paging.limit).unwrap_or(usize::MAX);
    let (places, next) = state.promos.draw(id, paging.after.unwrap_or(0), limit, clock::now()).await?;
    let data = places.into_iter().map(|(number, key)| DrawnPlace { number, key: key.to_string() }).collect();
    Ok(Answer(DrawList { data, next }))
}

async fn shown(state: &ApiState, promo: Promo) -> Answer<PromoBody> {
    let shown = state.promos.shown(promo).await;
    Answer(PromoBody::new(&shown, state.currency, clock::now()))
}

fn sees_drafts(auth: Option<&Auth>) -> bool {
    auth.is_some_and(|Auth(identity)| identity.role == Role::Admin)
}
