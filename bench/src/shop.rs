//! The shop's REST API as the harness uses it: an administrator who prepares a sale, and what is read afterwards.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, bail};
use reqwest::{Method, RequestBuilder, redirect};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{cli::TargetArgs, target::Target};

/// Shoppers that one call signs up, at most: the contract's bound.
const BULK: usize = 1000;
/// The longest answer that is waited for.
const ANSWERS_WITHIN: Duration = Duration::from_mins(1);
/// Entries of one page of a list.
const PAGE: usize = 100;
/// Entries of one page of the draw.
const DRAW_PAGE: usize = 1000;

/// An administrator's client.
#[derive(Clone, Debug)]
pub struct Shop {
    http: reqwest::Client,
    target: Target,
    token: String,
}

/// A simulated shopper's account.
#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    pub user_id: i64,
    pub token: String,
}

/// A sale to be published. The item is made with just this stock.
#[derive(Clone, Copy, Debug)]
pub struct Sale {
    pub stock: u32,
    pub opens_in: Duration,
    pub lasts: Duration,
    pub rate_per_s: u32,
    pub max_active: u32,
    pub pass_ttl: Duration,
    pub payment_window: Duration,
}

/// A published promo.
#[derive(Clone, Debug, Deserialize)]
pub struct Promo {
    pub id: i64,
    pub item_id: i64,
    pub price_minor: i64,
    pub stock: u32,
    pub seed_commit: String,
    /// Shown from the opening on.
    pub seed: Option<String>,
}

/// `GET /promos/{id}/audit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct LedgerAudit {
    pub initial: u32,
    pub available: u32,
    pub pending: u32,
    pub sold: u32,
    pub ok: bool,
    pub database: DatabaseAudit,
}

/// What the database has sold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct DatabaseAudit {
    pub initial: u32,
    pub sold: u32,
}

/// One of a shopper's orders.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Order {
    #[serde(rename = "order_id")]
    pub id: Uuid,
    pub promo_id: Option<i64>,
    pub quantity: u32,
    pub price_minor: i64,
    pub total_minor: i64,
    pub status: String,
}

#[derive(Deserialize)]
struct Page<T> {
    data: Vec<T>,
    next: Option<Value>,
}

#[derive(Deserialize)]
struct DrawnPlace {
    number: u64,
    key: String,
}

impl Default for Sale {
    /// Open, and in nobody's way: passes for all at once, and time to pay.
    fn default() -> Self {
        Self {
            stock: 1,
            opens_in: Duration::ZERO,
            lasts: Duration::from_hours(6),
            rate_per_s: 100_000,
            max_active: 1_000_000,
            pass_ttl: Duration::from_hours(1),
            payment_window: Duration::from_hours(24),
        }
    }
}

impl Shop {
    /// Logs in as the administrator.
    pub async fn admin(arguments: &TargetArgs) -> anyhow::Result<Self> {
        let target = arguments.target()?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(redirect::Policy::none())
            .timeout(ANSWERS_WITHIN)
            .build()?;
        let mut shop = Self { http, target, token: String::new() };
        let body = json!({ "email": arguments.admin_email, "password": arguments.admin_password });
        let session: Value =
            shop.post("/api/v1/sessions", body).await.context("the administrator cannot log in")?;
        session["token"].as_str().context("a session has a token")?.clone_into(&mut shop.token);
        Ok(shop)
    }

    /// The gateways.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Signs up so many shoppers, in bulk: no password is hashed.
    pub async fn sign_up(&self, count: usize) -> anyhow::Result<Vec<Account>> {
        let mut accounts = Vec::with_capacity(count);
        while accounts.len() < count {
            let wanted = BULK.min(count - accounts.len());
            let page: Page<Account> = self
                .post("/api/v1/users/bulk", json!({ "count": wanted }))
                .await
                .context("shoppers cannot be signed up")?;
            anyhow::ensure!(!page.data.is_empty(), "no shopper was signed up");
            accounts.extend(page.data);
        }
        Ok(accounts)
    }

    /// Makes an item with so much stock; returns its id.
    pub async fn create_item(&self, stock: u32) -> anyhow::Result<i64> {
        let item = json!({
            "title": "Load test", "description": "", "image_url": "", "price_minor": 2999, "stock": stock,
        });
        let item: Value = self.post("/api/v1/items", item).await?;
        item["id"].as_i64().context("an item has an id")
    }

    /// Makes an item with the sale's stock, and publishes the sale.
    pub async fn publish(&self, sale: &Sale) -> anyhow::Result<Promo> {
        let item = self.create_item(sale.stock).await?;
        let starts_at = jiff::Timestamp::now() + sale.opens_in;
        let draft = json!({
            "item_id": item,
            "title": "Load test",
            "price_minor": 1999,
            "stock": sale.stock,
            "per_user_limit": 1,
            "starts_at": rfc3339(starts_at),
            "ends_at": rfc3339(starts_at + sale.lasts),
            "admission": {
                "rate_per_s": sale.rate_per_s,
                "max_active": sale.max_active,
                "pass_ttl_ms": millis(sale.pass_ttl),
            },
            "payment_window_ms": millis(sale.payment_window),
        });
        let promo: Promo = self.post("/api/v1/promos", draft).await?;
        self.post(&format!("/api/v1/promos/{}/publish", promo.id), Value::Null).await
    }

    /// Ends a promo, so that it costs the servers nothing more.
    pub async fn end(&self, promo: i64) -> anyhow::Result<()> {
        self.post::<Value>(&format!("/api/v1/promos/{promo}/end"), Value::Null).await.map(drop)
    }

    /// A promo as it is now.
    pub async fn promo(&self, id: i64) -> anyhow::Result<Promo> {
        self.get(&format!("/api/v1/promos/{id}"), &self.token, 0).await
    }

    /// A promo's conservation of stock.
    pub async fn audit(&self, promo: i64) -> anyhow::Result<LedgerAudit> {
        self.get(&format!("/api/v1/promos/{promo}/audit"), &self.token, 0).await
    }

    /// The keys of a promo's lobby by number.
    pub async fn draw(&self, promo: i64) -> anyhow::Result<BTreeMap<u64, String>> {
        let path = format!("/api/v1/promos/{promo}/draw");
        let places: Vec<DrawnPlace> = self.list(&path, &self.token, 0, DRAW_PAGE).await?;
        Ok(places.into_iter().map(|place| (place.number, place.key)).collect())
    }

    /// All orders of a shopper, asked at the gateway that `turn` picks.
    pub async fn orders_of(&self, account: &Account, turn: usize) -> anyhow::Result<Vec<Order>> {
        self.list("/api/v1/orders", &account.token, turn, PAGE).await
    }

    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        token: &str,
        turn: usize,
        limit: usize,
    ) -> anyhow::Result<Vec<T>> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page: Page<T> = self.get(&format!("{path}?limit={limit}{after}"), token, turn).await?;
            all.extend(page.data);
            after = match page.next {
                None => return Ok(all),
                Some(Value::String(cursor)) => format!("&after={cursor}"),
                Some(cursor) => format!("&after={cursor}"),
            };
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, token: &str, turn: usize) -> anyhow::Result<T> {
        let url = format!("{}{path}", self.target.of(turn).http());
        answer(self.http.request(Method::GET, url).bearer_auth(token), path).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: Value) -> anyhow::Result<T> {
        let mut request = self.http.request(Method::POST, format!("{}{path}", self.target.of(0).http()));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        answer(request, path).await
    }
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder, path: &str) -> anyhow::Result<T> {
    let response = request.send().await.with_context(|| format!("{path} does not answer"))?;
    let status = response.status();
    let text = response.text().await.with_context(|| format!("{path} does not answer to the end"))?;
    if !status.is_success() {
        bail!("{path} answers {status}: {text}");
    }
    serde_json::from_str(&text).with_context(|| format!("{path} answers something else: {text}"))
}

fn rfc3339(at: jiff::Timestamp) -> String {
    format!("{at:.3}")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
