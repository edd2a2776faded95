//! A shop of its own for each test, and the words to talk to it.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use governor::Quota;
use panicbuy::{
    api::{self, ApiState},
    clock,
    domain::{PoolId, PromoId},
    order_log::sqlite::SqliteOrderLog,
    reservation::{memory::MemoryEngine, port::Reservations},
    results::memory::MemoryResults,
    service::{
        catalog::Catalog,
        item::ItemService,
        order::{OrderEngines, OrderLimits, OrderService},
        password::Passwords,
        promo::{PromoService, RoomLimits},
        token::Tokens,
        user::UserService,
    },
    store::sqlite::{SqliteSettings, SqliteStore},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

/// Log-ins a minute; one test exhausts them.
pub const LOG_INS: u32 = 5;

pub struct Shop {
    pub state: ApiState,
    pub engine: Arc<MemoryEngine>,
    router: Router,
    _dir: TempDir,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The answer's body, which must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        self.json()
    }

    /// The problem's body, which must have this status and code.
    #[track_caller]
    pub fn expect_problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        problem
    }
}

impl Shop {
    pub async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shop.db");
        let settings = SqliteSettings::default();
        let store = Arc::new(SqliteStore::open(path.to_str().unwrap(), &settings).await.unwrap());
        let engine = Arc::new(MemoryEngine::new(60_000));
        let catalog = Arc::new(Catalog::new(store.clone(), store.clone(), Duration::from_mins(1)));
        let tokens = Arc::new(Tokens::new(b"a secret of the tests", 3_600_000));
        let log_ins = Quota::per_minute(NonZeroU32::new(LOG_INS).unwrap());
        let results = Arc::new(MemoryResults::new(16));
        let promos = PromoService::new(
            store.clone(),
            store.clone(),
            engine.clone(),
            engine.clone(),
            results.clone(),
            catalog.clone(),
            RoomLimits { grace_ms: 30_000, max_unsettled: 1000, max_places: 1000 },
        );
        let log = SqliteOrderLog::start(store.writer().clone(), store.reader().clone(), 100);
        let orders = OrderService::new(
            OrderEngines {
                catalog: catalog.clone(),
                reservations: engine.clone(),
                rooms: engine.clone(),
                log: Arc::new(log),
                store: store.clone(),
                results: results.clone(),
                closings_bell: Arc::default(),
            },
            OrderLimits {
                per_user_per_s: NonZeroU32::new(100).unwrap(),
                max_quantity: 10,
                max_in_flight: 100,
                confirm_within: Duration::from_secs(5),
                refusals_remembered: 100,
                refusals_remembered_for: Duration::from_mins(1),
                list_price_payment_window_ms: 900_000,
            },
        );
        let state = ApiState {
            orders: Arc::new(orders),
            users: Arc::new(UserService::new(store.clone(), Passwords::new(2, 16), tokens.clone(), log_ins)),
            items: Arc::new(ItemService::new(store.clone(), engine.clone(), catalog)),
            promos: Arc::new(promos),
            tokens,
            currency: "EUR".parse().unwrap(),
        };
        let router = api::finish(api::router(state.clone(), Duration::from_secs(10)));
        Self { state, engine, router, _dir: dir }
    }

    /// Sends a request as it is.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: parts.status, headers: parts.headers, text }
    }

    pub async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.send(request("GET", path, token).body(Body::empty()).unwrap()).await
    }

    /// Sends JSON, or no body for `null`.
    pub async fn call(&self, method: &str, path: &str, token: Option<&str>, body: Value) -> Answer {
        let request = request(method, path, token);
        let request = match body {
            Value::Null => request.body(Body::empty()),
            body => request.header("content-type", "application/json").body(Body::from(body.to_string())),
        };
        self.send(request.unwrap()).await
    }

    pub async fn post(&self, path: &str, token: Option<&str>, body: Value) -> Answer {
        self.call("POST", path, token, body).await
    }

    /// The token of an administrator.
    pub async fn admin(&self) -> String {
        let password = "correct horse".to_owned();
        let user = self.state.users.ensure_admin("admin@example.org", password, clock::now()).await.unwrap();
        self.state.tokens.issue(&user, clock::now()).0
    }

    /// The token of a shopper.
    pub async fn shopper(&self, email: &str) -> String {
        let body = json!({ "email": email, "password": "correct horse", "display_name": "Ann" });
        self.post("/users", None, body).await.expect(201);
        let body = json!({ "email": email, "password": "correct horse" });
        self.post("/sessions", None, body).await.expect(201)["token"].as_str().unwrap().to_owned()
    }

    /// A fresh item's id.
    pub async fn item(&self, admin: &str, stock: u32) -> i64 {
        let body = json!({ "title": "Sneaker", "price_minor": 9900, "stock": stock });
        self.post("/items", Some(admin), body).await.expect(201)["id"].as_i64().unwrap()
    }

    /// A fresh draft's id. Times are in milliseconds from now.
    pub async fn draft(&self, admin: &str, item: i64, stock: u32, from_ms: i64, to_ms: i64) -> i64 {
        let draft = self.post("/promos", Some(admin), promo(item, stock, from_ms, to_ms)).await;
        draft.expect(201)["id"].as_i64().unwrap()
    }

    /// A promo that is published, with all its stock.
    pub async fn promo(&self, admin: &str, item: i64, stock: u32, from_ms: i64, to_ms: i64) -> i64 {
        let id = self.draft(admin, item, stock, from_ms, to_ms).await;
        self.post(&format!("/promos/{id}/publish"), Some(admin), Value::Null).await.expect(200);
        id
    }

    /// What the ledger has available of the promo.
    pub async fn promo_available(&self, id: i64) -> u32 {
        self.engine.snapshot(PoolId::Promo(PromoId(id))).await.unwrap().available
    }

    /// An item's `(stock, available)` as it is shown.
    pub async fn item_stock(&self, id: i64) -> (i64, i64) {
        let item = self.get(&format!("/items/{id}"), None).await.expect(200);
        (item["stock"].as_i64().unwrap(), item["available"].as_i64().unwrap())
    }
}

/// A promo that is valid.
pub fn promo(item: i64, stock: u32, from_ms: i64, to_ms: i64) -> Value {
    let now = clock::now().as_millis();
    let at = |ms| panicbuy::domain::Timestamp::from_millis(now + ms);
    json!({
        "item_id": item, "title": "Friday", "price_minor": 4900, "stock": stock,
        "starts_at": at(from_ms), "ends_at": at(to_ms),
        "admission": { "rate_per_s": 10, "max_active": 100, "pass_ttl_ms": 60_000 },
        "payment_window_ms": 900_000,
    })
}

/// A request to the API, or with a path that starts with `//` to anything else of the server.
pub fn request(method: &str, path: &str, token: Option<&str>) -> axum::http::request::Builder {
    let path = match path.strip_prefix('/') {
        Some(other) if other.starts_with('/') => other.to_owned(),
        _ => format!("/api/v1{path}"),
    };
    let request = Request::builder().method(method).uri(path);
    match token {
        Some(token) => request.header("authorization", format!("Bearer {token}")),
        None => request,
    }
}
