//! REST as a test uses it: accounts, items, promos, orders.

use std::net::SocketAddr;

use panicbuy::{
    domain::{ItemId, PromoId, Timestamp},
    service::user::{DisplayName, Email},
};
use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
    redirect,
};
use serde_json::{Value, json};

use super::{ADMIN_EMAIL, ADMIN_PASSWORD, Server, described};

/// A REST client, with or without a session.
#[derive(Clone)]
pub struct Shop {
    base: String,
    pub token: Option<String>,
    http: reqwest::Client,
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

    /// The text of a header that must be there.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.to_str().unwrap()
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
        assert_eq!(self.headers[CONTENT_TYPE], "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
        problem
    }
}

/// A promo to be published; every field has a sensible default.
#[derive(Clone, Debug)]
pub struct Sale {
    pub stock: u32,
    pub per_user_limit: u32,
    /// Negative: it has been open for so long.
    pub opens_in_ms: i64,
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
            // However slow the machine: no order expires unless the test is about that.
            payment_window_ms: 3_600_000,
        }
    }
}

impl Sale {
    /// The body that asks for a draft of this sale.
    pub fn of(&self, item: ItemId) -> Value {
        let at = |ms| Timestamp::from_millis(panicbuy::clock::now().as_millis() + ms);
        let starts_at = at(self.opens_in_ms);
        json!({
            "item_id": item,
            "title": "Flash",
            "price_minor": 1999,
            "stock": self.stock,
            "per_user_limit": self.per_user_limit,
            "starts_at": starts_at,
            "ends_at": starts_at.plus_millis(self.lasts_ms),
            "admission": {
                "rate_per_s": self.rate_per_s, "max_active": self.max_active, "pass_ttl_ms": self.pass_ttl_ms,
            },
            "payment_window_ms": self.payment_window_ms,
        })
    }
}

impl Shop {
    pub fn visitor(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(redirect::Policy::none()).build().unwrap();
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

    /// A request to be completed and sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        self.token.iter().fold(request, RequestBuilder::bearer_auth)
    }

    /// Sends a request as it is. The answer is held to the API's description.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = self.http.execute(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let answer = Answer { status, headers, text: response.text().await.unwrap() };
        described::check(&method, &path, &answer);
        answer
    }

    /// Sends JSON, or no body for `null`.
    pub async fn ask(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = self.request(method, path);
        self.send(if body.is_null() { request } else { request.json(&body) }).await
    }

    /// The answer to GET, whatever it is.
    pub async fn read(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, Value::Null).await
    }

    /// The answer to POST, whatever it is.
    pub async fn write(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, body).await
    }

    /// The answer to PATCH, whatever it is.
    pub async fn edit(&self, path: &str, body: Value) -> Answer {
        self.ask(Method::PATCH, path, body).await
    }

    /// Calls the API; returns the status and the JSON body (null if there is none).
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let answer = self.ask(method, path, body.unwrap_or(Value::Null)).await;
        (answer.status, serde_json::from_str(&answer.text).unwrap_or(Value::Null))
    }

    /// Posts to a server that may be gone.
    pub async fn try_post(&self, path: &str, body: Value) -> Option<StatusCode> {
        let request = self.request(Method::POST, path).json(&body);
        Some(request.send().await.ok()?.status())
    }

    /// A page that is not JSON.
    pub async fn text(&self, path: &str) -> String {
        self.read(path).await.text
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
        let (status, promo) = self.post("/api/v1/promos", sale.of(item)).await;
        assert_eq!(status, StatusCode::CREATED, "{promo}");
        PromoId(promo["id"].as_i64().unwrap())
    }

    /// Publishes a sale of this item's.
    pub async fn put_on_sale(&self, item: ItemId, sale: &Sale) -> PromoId {
        let promo = self.draft(item, sale).await;
        let (status, body) = self.post(&format!("/api/v1/promos/{promo}/publish"), json!({})).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        promo
    }

    /// Creates an item with just the sale's stock, and publishes the sale.
    pub async fn publish(&self, sale: &Sale) -> PromoId {
        let item = self.create_item(sale.stock).await;
        self.put_on_sale(item, sale).await
    }

    /// An item's `(stock, available)` as it is shown.
    pub async fn item_stock(&self, item: ItemId) -> (i64, i64) {
        let item = self.get(&format!("/api/v1/items/{item}")).await;
        (item["stock"].as_i64().unwrap(), item["available"].as_i64().unwrap())
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
