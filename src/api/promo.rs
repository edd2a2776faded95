//! Promos over REST.

use axum::{Json as Answer, extract::State, response::IntoResponse};
use serde::{Deserialize, Serialize};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState,
    check::Checks,
    created,
    extract::{Admin, Auth, Json, Paging, Path},
    item::{price, title},
    problem::{Code, Problem},
};
use crate::{
    clock,
    domain::{
        Admission, Currency, ItemId, NewPromo, Price, Promo, PromoId, PromoStage, PromoStatus, Role,
        Timestamp,
    },
    random,
    reservation::port::Snapshot,
    service::{audit::Audit, promo::AdmissionPatch, shelf::ShownPromo},
    store::port::{MAX_STOCK, PoolRow},
};

/// The longest sale.
const MAX_DURATION_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// The longest payment window.
const MAX_PAYMENT_WINDOW_MS: u64 = 7 * 24 * 60 * 60 * 1000;

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

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = NewPromo)]
struct NewPromoBody {
    item_id: ItemId,
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    #[schema(minimum = 0, maximum = 10_000_000_000_i64)]
    price_minor: i64,
    /// Moves out of the item's stock when the promo is published.
    #[schema(minimum = 1, maximum = 100_000_000)]
    stock: u32,
    /// Units one shopper may hold in live orders.
    #[serde(default = "one")]
    #[schema(minimum = 1, maximum = 1000, default = 1)]
    per_user_limit: u32,
    starts_at: Timestamp,
    /// At most 30 days after `starts_at`.
    ends_at: Timestamp,
    admission: Admission,
    /// How long an order may stay unpaid.
    #[schema(minimum = 1000, maximum = 604_800_000)]
    payment_window_ms: u64,
}

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = AdmissionPatch)]
struct AdmissionPatchBody {
    #[schema(minimum = 1, maximum = 100_000)]
    rate_per_s: Option<u32>,
    #[schema(minimum = 1, maximum = 1_000_000)]
    max_active: Option<u32>,
    #[schema(minimum = 1000, maximum = 3_600_000)]
    pass_ttl_ms: Option<u64>,
}

/// A promo as everybody sees it.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Promo)]
pub(super) struct PromoBody {
    id: PromoId,
    item_id: ItemId,
    title: String,
    status: PromoStatus,
    price_minor: Price,
    #[schema(example = "EUR")]
    currency: String,
    /// Units allotted to the promo.
    stock: u32,
    /// Units that can be ordered right now; null while the stock is being recovered.
    available: Option<u32>,
    per_user_limit: u32,
    starts_at: Timestamp,
    ends_at: Timestamp,
    admission: Admission,
    payment_window_ms: u64,
    /// SHA-256 of `seed`, in hex.
    seed_commit: String,
    /// The secret of the draw, in hex; shown from the opening on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    seed: Option<String>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct PromoList {
    data: Vec<PromoBody>,
    /// The cursor of the next page, null on the last.
    next: Option<PromoId>,
}

/// Whether every unit is where it should be: `initial = available + pending + sold`, and the database agrees.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Audit)]
struct AuditBody {
    promo_id: PromoId,
    initial: u32,
    available: u32,
    pending: u32,
    sold: u32,
    /// Units promised to shoppers who hold a live pass; part of `available`.
    holds: u32,
    ok: bool,
    ledger: LedgerBody,
    database: DatabaseBody,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AuditLedger)]
struct LedgerBody {
    initial: u32,
    available: u32,
    pending: u32,
    sold: u32,
    holds: u32,
    version: u64,
}

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = AuditDatabase)]
struct DatabaseBody {
    initial: u32,
    available: u32,
    sold: u32,
}

#[derive(Serialize, utoipa::ToSchema)]
struct DrawList {
    data: Vec<DrawnPlace>,
    /// The cursor of the next page, null on the last.
    next: Option<u64>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct DrawnPlace {
    number: u64,
    /// The 52 most significant bits of HMAC-SHA256(seed, `"{promo_id}:{user_id}"`), as 13 hex digits.
    #[schema(example = "a9ec28ef577d0")]
    key: String,
}

impl PromoBody {
    pub(super) fn new(shown: &ShownPromo, currency: Currency, now: Timestamp) -> Self {
        let promo = &shown.promo;
        let opened = promo.stage != PromoStage::Draft && now >= promo.starts_at;
        Self {
            id: promo.id,
            item_id: promo.item_id,
            title: promo.title.clone(),
            status: promo.status(now),
            price_minor: promo.price,
            currency: currency.to_string(),
            stock: promo.stock,
            available: shown.available,
            per_user_limit: promo.per_user_limit,
            starts_at: promo.starts_at,
            ends_at: promo.ends_at,
            admission: promo.admission,
            payment_window_ms: promo.payment_window_ms,
            seed_commit: promo.seed.commit().to_string(),
            seed: opened.then(|| promo.seed.to_string()),
        }
    }
}

impl AuditBody {
    fn new(promo_id: PromoId, audit: Audit) -> Self {
        let Snapshot { initial, available, pending, sold, holds, version } = audit.ledger;
        let PoolRow { initial: stored, sold: written, .. } = audit.database;
        Self {
            promo_id,
            initial,
            available,
            pending,
            sold,
            holds,
            ok: audit.ok,
            ledger: LedgerBody { initial, available, pending, sold, holds, version },
            database: DatabaseBody {
                initial: stored,
                available: stored.saturating_sub(written),
                sold: written,
            },
        }
    }
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
    let mut checks = Checks::default();
    let AdmissionPatchBody { rate_per_s, max_active, pass_ttl_ms } = body;
    check_admission(&mut checks, "", rate_per_s, max_active, pass_ttl_ms);
    checks.finish()?;
    let patch = AdmissionPatch { rate_per_s, max_active, pass_ttl_ms };
    let promo = state.promos.set_admission(id, patch).await?;
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

fn one() -> u32 {
    1
}

impl NewPromoBody {
    fn check(self) -> Result<NewPromo, Problem> {
        let mut checks = Checks::default();
        let Admission { rate_per_s, max_active, pass_ttl_ms } = self.admission;
        check_admission(&mut checks, "admission.", Some(rate_per_s), Some(max_active), Some(pass_ttl_ms));
        let duration = self.ends_at - self.starts_at;
        checks.require("ends_at", duration > 0, "must be after starts_at");
        checks.require("ends_at", duration <= MAX_DURATION_MS, "must be within 30 days of starts_at");
        let promo = NewPromo {
            item_id: self.item_id,
            title: title(&mut checks, &self.title),
            price: price(&mut checks, self.price_minor),
            stock: checks.number("stock", self.stock, 1..=MAX_STOCK),
            per_user_limit: checks.number("per_user_limit", self.per_user_limit, 1..=1000),
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            admission: self.admission,
            payment_window_ms: checks.number(
                "payment_window_ms",
                self.payment_window_ms,
                1000..=MAX_PAYMENT_WINDOW_MS,
            ),
            seed: random::seed(),
        };
        checks.finish()?;
        Ok(promo)
    }
}

fn check_admission(
    checks: &mut Checks,
    prefix: &str,
    rate_per_s: Option<u32>,
    max_active: Option<u32>,
    pass_ttl_ms: Option<u64>,
) {
    if let Some(rate) = rate_per_s {
        checks.number(&format!("{prefix}rate_per_s"), rate, 1..=100_000);
    }
    if let Some(max) = max_active {
        checks.number(&format!("{prefix}max_active"), max, 1..=1_000_000);
    }
    if let Some(ttl) = pass_ttl_ms {
        checks.number(&format!("{prefix}pass_ttl_ms"), ttl, 1000..=3_600_000);
    }
}
