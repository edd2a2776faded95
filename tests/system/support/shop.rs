//! REST as a test uses it: accounts, items, promos, orders.

use std::net::SocketAddr;

use panicbuy::{
    domain::{ItemId, PromoId, Timestamp},
    service::user::{DisplayName, Email},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{ADMIN_EMAIL, ADMIN_PASSWORD, Server};

/// A REST client, with or without a session.
#[derive(Clone)]
pub struct Shop {
    base: String,
    pub token: Option<String>,
    http: reqwest::Client,
}

/// A promo to be published; every field has a sensible default.
#[derive(Clone, Debug)]
pub struct Sale {
    pub stock: u32,
    pub per_user_limit: u32,
    pub opens_in_ms: u64,
    pub lasts_ms: u64,
    pub rate_per_s: u32,
    pub max_active: u32,
    pub pass_ttl_ms: u64,
    pub payment_window_ms: u64,
}

impl Default for Sale {
    fn default() -> Self {
        Self {
            stock: 10,
            per_user_limit: 1,
            opens_in_ms: 0,
            lasts_ms: 600_000,
            rate_per_s: 1000,
            max_active: 1000,
            pass_ttl_ms: 60_000,
            payment_window_ms: 60_000,
        }
    }
}

impl Shop {
    pub fn visitor(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { base: format!("http://{address}"), token: None, http }
    }

    /// A client with this session.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// Logs in.
    pub async fn log_in(&self, email: &str, password: &str) -> Self {
        let body = json!({ "email": email, "password": password });
        let (status, session) = self.call(Method::POST, "/api/v1/sessions", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{session}");
        self.with_token(session["token"].as_str().unwrap())
    }

    /// The administrator's client.
    pub async fn admin(address: SocketAddr) -> Self {
        Self::visitor(address).log_in(ADMIN_EMAIL, ADMIN_PASSWORD).await
    }

    /// Registers a shopper and logs them in.
    pub async fn register(&self, email: &str) -> Self {
        let password = "a decent password";
        let body = json!({ "email": email, "password": password, "display_name": "Somebody" });
        let (status, user) = self.call(Method::POST, "/api/v1/users", Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{user}");
        self.log_in(email, password).await
    }

    /// Calls the API; returns the status and the JSON body (null if there is none).
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Posts to a server that may be gone.
    pub async fn try_post(&self, path: &str, body: Value) -> Option<StatusCode> {
        let request = self.http.post(format!("{}{path}", self.base)).json(&body);
        let request = self.token.iter().fold(request, reqwest::RequestBuilder::bearer_auth);
        Some(request.send().await.ok()?.status())
    }

    /// A page that is not JSON.
    pub async fn text(&self, path: &str) -> String {
        self.http.get(format!("{}{path}", self.base)).send().await.unwrap().text().await.unwrap()
    }

    pub async fn get(&self, path: &str) -> Value {
        let (status, body) = self.call(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::OK, "GET {path}: {body}");
        body
    }

    pub async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.call(Method::POST, path, Some(body)).await
    }

    pub async fn create_item(&self, stock: u32) -> ItemId {
        let item = json!({ "title": "Thing", "description": "", "image_url": "", "price_minor": 5000, "stock": stock });
        let (status, item) = self.post("/api/v1/items", item).await;
        assert_eq!(status, StatusCode::CREATED, "{item}");
        ItemId(item["id"].as_i64().unwrap())
    }

    /// Creates a draft of this item's.
    pub async fn draft(&self, item: ItemId, sale: &Sale) -> PromoId {
        let starts_at = panicbuy::clock::now().plus_millis(sale.opens_in_ms);
        let body = json!({
            "item_id": item,
            "title": "Flash",
            "price_minor": 1999,
            "stock": sale.stock,
            "per_user_limit": sale.per_user_limit,
            "starts_at": starts_at,
            "ends_at": starts_at.plus_millis(sale.lasts_ms),
            "admission": {
                "rate_per_s": sale.rate_per_s, "max_active": sale.max_active, "pass_ttl_ms": sale.pass_ttl_ms,
            },
            "payment_window_ms": sale.payment_window_ms,
        });
        let (status, promo) = self.post("/api/v1/promos", body).await;
        assert_eq!(status, StatusCode::CREATED, "{promo}");
        PromoId(promo["id"].as_i64().unwrap())
    }

    /// Creates an item with just the sale's stock, and publishes the sale.
    pub async fn publish(&self, sale: &Sale) -> PromoId {
        let item = self.create_item(sale.stock).await;
        let promo = self.draft(item, sale).await;
        let (status, body) = self.post(&format!("/api/v1/promos/{promo}/publish"), json!({})).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        promo
    }

    /// The promo's audit, which must hold.
    pub async fn audit(&self, promo: PromoId) -> Value {
        let audit = self.get(&format!("/api/v1/promos/{promo}/audit")).await;
        let units = |name: &str| audit[name].as_i64().unwrap();
        assert_eq!(units("initial"), units("available") + units("pending") + units("sold"), "{audit}");
        assert_eq!(audit["ok"], true, "{audit}");
        audit
    }
}

/// Enrols shoppers without passwords, as many as asked for; returns their tokens.
pub async fn enrol(server: &Server, count: usize) -> Vec<String> {
    let mut tokens = Vec::new();
    for number in 0..count {
        let email = format!("s{number}.{}@shop.example", panicbuy::random::uuid());
        let email = Email::parse(&email).unwrap();
        let name = DisplayName::parse("Shopper").unwrap();
        let now: Timestamp = panicbuy::clock::now();
        let session = server.services.users.enrol_without_password(email, name, now).await.unwrap();
        tokens.push(session.token);
    }
    tokens
}
