//! Promos as they are written and read: the JSON, its limits, and nothing of the calls.

use serde::{Deserialize, Serialize};

use super::super::{
    check::Checks,
    item::{price, title},
    problem::Problem,
};
use crate::{
    domain::{Admission, Currency, ItemId, NewPromo, Price, PromoId, PromoStage, PromoStatus, Timestamp},
    random,
    reservation::port::Snapshot,
    service::{audit::Audit, promo::AdmissionPatch, shelf::ShownPromo},
    store::port::{MAX_STOCK, PoolRow},
};

/// The longest sale.
const MAX_DURATION_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// The longest payment window.
const MAX_PAYMENT_WINDOW_MS: u64 = 7 * 24 * 60 * 60 * 1000;

#[derive(Deserialize, utoipa::ToSchema)]
#[schema(as = NewPromo)]
pub(super) struct NewPromoBody {
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
pub(super) struct AdmissionPatchBody {
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
pub(in crate::api) struct PromoBody {
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
pub(super) struct PromoList {
    pub(super) data: Vec<PromoBody>,
    /// The cursor of the next page, null on the last.
    pub(super) next: Option<PromoId>,
}

/// Whether every unit is where it should be: `initial = available + pending + sold`, and the database agrees.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Audit)]
pub(super) struct AuditBody {
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
pub(super) struct DrawList {
    pub(super) data: Vec<DrawnPlace>,
    /// The cursor of the next page, null on the last.
    pub(super) next: Option<u64>,
}

#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct DrawnPlace {
    pub(super) number: u64,
    /// The 52 most significant bits of HMAC-SHA256(seed, `"{promo_id}:{user_id}"`), as 13 hex digits.
    #[schema(example = "a9ec28ef577d0")]
    pub(super) key: String,
}

impl PromoBody {
    pub(in crate::api) fn new(shown: &ShownPromo, currency: Currency, now: Timestamp) -> Self {
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
    pub(super) fn new(promo_id: PromoId, audit: Audit) -> Self {
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

fn one() -> u32 {
    1
}

impl NewPromoBody {
    pub(super) fn check(self) -> Result<NewPromo, Problem> {
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

impl AdmissionPatchBody {
    pub(super) fn check(self) -> Result<AdmissionPatch, Problem> {
        let mut checks = Checks::default();
        let Self { rate_per_s, max_active, pass_ttl_ms } = self;
        check_admission(&mut checks, "", rate_per_s, max_active, pass_ttl_ms);
        checks.finish()?;
        Ok(AdmissionPatch { rate_per_s, max_active, pass_ttl_ms })
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
