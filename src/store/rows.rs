//! What a row says, as domain types. The same for every engine: integers are 64 bits wide, words and ids are text.
//!
//! A row no version of this program could have written is a decoding error, never a guess.

use std::{error::Error, fmt::Display, str::FromStr};

use sqlx::FromRow;
use uuid::Uuid;

use super::{
    decide::Shelf,
    port::{Books, OutboxEntry, PoolRow},
};
use crate::{
    domain::{
        Admission, Epoch, Item, ItemId, Order, OrderId, OrderStatus, PoolId, Price, Promo, PromoId,
        PromoStage, Reason, RequestId, Role, Seed, Timestamp, User, UserId, Verdict,
    },
    reservation::port::{Closing, OpeningOrder},
};

type Decoded<T> = Result<T, sqlx::Error>;

#[derive(FromRow)]
pub(super) struct UserRecord {
    id: i64,
    email: String,
    display_name: String,
    role: String,
    created_at: i64,
}

impl UserRecord {
    pub(super) fn decode(self) -> Decoded<User> {
        Ok(User {
            id: UserId(self.id),
            email: self.email,
            display_name: self.display_name,
            role: word("users.role", &self.role, parse_role)?,
            created_at: Timestamp::from_millis(self.created_at),
        })
    }
}

#[derive(FromRow)]
pub(super) struct ItemRecord {
    id: i64,
    title: String,
    description: String,
    image_url: String,
    price_minor: i64,
    stock: i64,
    created_at: i64,
}

impl ItemRecord {
    pub(super) fn decode(self) -> Decoded<Item> {
        Ok(Item {
            id: ItemId(self.id),
            title: self.title,
            description: self.description,
            image_url: self.image_url,
            price: Price(self.price_minor),
            stock: narrow("items.stock", self.stock)?,
            created_at: Timestamp::from_millis(self.created_at),
        })
    }
}

#[derive(FromRow)]
pub(super) struct PromoRecord {
    id: i64,
    item_id: i64,
    title: String,
    price_minor: i64,
    stock: i64,
    per_user_limit: i64,
    starts_at: i64,
    ends_at: i64,
    rate_per_s: i64,
    max_active: i64,
    pass_ttl_ms: i64,
    payment_window_ms: i64,
    seed: Vec<u8>,
    stage: String,
    created_at: i64,
}

impl PromoRecord {
    pub(super) fn decode(self) -> Decoded<Promo> {
        let seed = <[u8; 32]>::try_from(self.seed).map_err(|_| invalid("promos.seed", "not 32 bytes"))?;
        Ok(Promo {
            id: PromoId(self.id),
            item_id: ItemId(self.item_id),
            title: self.title,
            price: Price(self.price_minor),
            stock: narrow("promos.stock", self.stock)?,
            per_user_limit: narrow("promos.per_user_limit", self.per_user_limit)?,
            starts_at: Timestamp::from_millis(self.starts_at),
            ends_at: Timestamp::from_millis(self.ends_at),
            admission: Admission {
                rate_per_s: narrow("promos.rate_per_s", self.rate_per_s)?,
                max_active: narrow("promos.max_active", self.max_active)?,
                pass_ttl_ms: narrow("promos.pass_ttl_ms", self.pass_ttl_ms)?,
            },
            payment_window_ms: narrow("promos.payment_window_ms", self.payment_window_ms)?,
            seed: Seed(seed),
            stage: word("promos.stage", &self.stage, PromoStage::parse)?,
            created_at: Timestamp::from_millis(self.created_at),
        })
    }
}

#[derive(FromRow)]
pub(super) struct OrderRecord {
    id: String,
    request_id: String,
    user_id: i64,
    item_id: i64,
    promo_id: Option<i64>,
    quantity: i64,
    price_minor: i64,
    status: String,
    reason: Option<String>,
    created_at: i64,
    pay_before: Option<i64>,
    paid_at: Option<i64>,
}

impl OrderRecord {
    pub(super) fn decode(self) -> Decoded<Order> {
        Ok(Order {
            id: OrderId(uuid("orders.id", &self.id)?),
            request_id: RequestId(uuid("orders.request_id", &self.request_id)?),
            user_id: UserId(self.user_id),
            item_id: ItemId(self.item_id),
            promo_id: self.promo_id.map(PromoId),
            quantity: narrow("orders.quantity", self.quantity)?,
            price: Price(self.price_minor),
            status: word("orders.status", &self.status, OrderStatus::parse)?,
            reason: reason(self.reason.as_deref())?,
            created_at: Timestamp::from_millis(self.created_at),
            pay_before: self.pay_before.map(Timestamp::from_millis),
            paid_at: self.paid_at.map(Timestamp::from_millis),
        })
    }
}

#[derive(FromRow)]
pub(super) struct OpeningRecord {
    id: String,
    request_id: String,
    user_id: i64,
    quantity: i64,
    status: String,
    reason: Option<String>,
    created_at: i64,
}

impl OpeningRecord {
    pub(super) fn decode(self) -> Decoded<OpeningOrder> {
        Ok(OpeningOrder {
            order_id: OrderId(uuid("orders.id", &self.id)?),
            request_id: RequestId(uuid("orders.request_id", &self.request_id)?),
            user_id: UserId(self.user_id),
            quantity: narrow("orders.quantity", self.quantity)?,
            status: word("orders.status", &self.status, OrderStatus::parse)?,
            reason: reason(self.reason.as_deref())?,
            created_at: Timestamp::from_millis(self.created_at),
        })
    }
}

/// An order that is there already, as far as a batch must know it.
#[derive(FromRow)]
pub(super) struct WrittenRecord {
    id: String,
    user_id: i64,
    request_id: String,
    status: String,
    reason: Option<String>,
    pay_before: Option<i64>,
}

impl WrittenRecord {
    /// The order, its shopper's name for it, and the verdict it got when it was written.
    pub(super) fn decode(self) -> Decoded<(OrderId, (UserId, RequestId), Verdict)> {
        let status = word("orders.status", &self.status, OrderStatus::parse)?;
        let verdict = match (status, reason(self.reason.as_deref())?, self.pay_before) {
            (OrderStatus::Rejected, Some(reason), _) => Verdict::Void { reason },
            (OrderStatus::Rejected, None, _) => return Err(invalid("orders.reason", "missing")),
            (_, _, Some(end)) => Verdict::Posted { pay_before: Timestamp::from_millis(end) },
            (_, _, None) => return Err(invalid("orders.pay_before", "missing")),
        };
        let request = RequestId(uuid("orders.request_id", &self.request_id)?);
        Ok((OrderId(uuid("orders.id", &self.id)?), (UserId(self.user_id), request), verdict))
    }
}

#[derive(FromRow)]
pub(super) struct PoolRecord {
    id: String,
    initial: i64,
    sold: i64,
    epoch: i64,
}

impl PoolRecord {
    pub(super) fn decode(self) -> Decoded<PoolRow> {
        Ok(PoolRow {
            pool: parsed("pools.id", &self.id)?,
            initial: narrow("pools.initial", self.initial)?,
            sold: narrow("pools.sold", self.sold)?,
            epoch: Epoch(narrow("pools.epoch", self.epoch)?),
        })
    }
}

/// A pool as a batch must know it, with its promo's columns if it is a promo's.
#[derive(FromRow)]
pub(super) struct ShelfRecord {
    #[sqlx(flatten)]
    pool: PoolRecord,
    promo_item: Option<i64>,
    per_user_limit: Option<i64>,
}

impl ShelfRecord {
    /// `None` for a pool without its promo: it holds nobody's units, so its reservations shall meet an unknown pool.
    pub(super) fn decode(self) -> Decoded<Option<(PoolId, Shelf)>> {
        let PoolRow { pool, initial, sold, epoch } = self.pool.decode()?;
        let item = match (pool, self.promo_item) {
            (PoolId::Item(item), _) => item,
            (PoolId::Promo(_), Some(item)) => ItemId(item),
            (PoolId::Promo(_), None) => return Ok(None),
        };
        let unsold = narrow("pools.sold", i64::from(initial) - i64::from(sold))?;
        let limit = self.per_user_limit.map(|limit| narrow("promos.per_user_limit", limit));
        Ok(Some((pool, Shelf { item, unsold, per_user_limit: limit.transpose()?, epoch })))
    }
}

/// Units that a shopper's live orders hold of a pool.
#[derive(FromRow)]
pub(super) struct HeldRecord {
    pool_id: String,
    user_id: i64,
    units: i64,
}

impl HeldRecord {
    pub(super) fn decode(self) -> Decoded<((PoolId, UserId), u64)> {
        let pool = parsed("orders.pool_id", &self.pool_id)?;
        Ok(((pool, UserId(self.user_id)), narrow("orders.quantity", self.units)?))
    }
}

#[derive(FromRow)]
pub(super) struct BooksRecord {
    #[sqlx(flatten)]
    pool: PoolRecord,
    units_returning: i64,
}

impl BooksRecord {
    pub(super) fn decode(self) -> Decoded<Books> {
        let returning = narrow("orders.quantity", self.units_returning)?;
        Ok(Books { row: self.pool.decode()?, returning })
    }
}

#[derive(FromRow)]
pub(super) struct OutboxRecord {
    id: i64,
    order_id: String,
    pool_id: String,
    user_id: i64,
    closing: String,
}

impl OutboxRecord {
    pub(super) fn decode(self) -> Decoded<OutboxEntry> {
        Ok(OutboxEntry {
            id: self.id,
            order_id: OrderId(uuid("ledger_outbox.order_id", &self.order_id)?),
            pool: parsed("ledger_outbox.pool_id", &self.pool_id)?,
            user_id: UserId(self.user_id),
            closing: word("ledger_outbox.closing", &self.closing, parse_closing)?,
        })
    }
}

/// The stored word of a role.
pub(super) fn role_word(role: Role) -> &'static str {
    match role {
        Role::Shopper => "shopper",
        Role::Admin => "admin",
    }
}

fn parse_role(word: &str) -> Option<Role> {
    [Role::Shopper, Role::Admin].into_iter().find(|role| role_word(*role) == word)
}

/// A closing is stored as the status it leads to.
fn parse_closing(word: &str) -> Option<Closing> {
    [Closing::Paid, Closing::Cancelled, Closing::Expired]
        .into_iter()
        .find(|closing| closing.status().as_str() == word)
}

fn reason(stored: Option<&str>) -> Decoded<Option<Reason>> {
    stored.map(|stored| word("orders.reason", stored, Reason::parse)).transpose()
}

fn word<T>(column: &str, stored: &str, parse: fn(&str) -> Option<T>) -> Decoded<T> {
    parse(stored).ok_or_else(|| invalid(column, format!("unknown word {stored:?}")))
}

fn uuid(column: &str, stored: &str) -> Decoded<Uuid> {
    parsed(column, stored)
}

/// A text column in the form its type is written in.
pub(super) fn parsed<T: FromStr<Err: Display>>(column: &str, stored: &str) -> Decoded<T> {
    stored.parse().map_err(|error: T::Err| invalid(column, error.to_string()))
}

/// A stored integer as the narrower type the domain has for it.
fn narrow<T: TryFrom<i64>>(column: &str, stored: i64) -> Decoded<T> {
    T::try_from(stored).map_err(|_| invalid(column, format!("{stored} is out of range")))
}

/// An unsigned number as the database stores it.
pub(super) fn widen(value: u64) -> Result<i64, sqlx::Error> {
    i64::try_from(value).map_err(|error| sqlx::Error::Encode(Box::new(error)))
}

fn invalid(column: &str, what: impl Into<String>) -> sqlx::Error {
    let text = format!("{column}: {}", what.into());
    sqlx::Error::Decode(Box::<dyn Error + Send + Sync>::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_words_and_numbers_out_of_range_are_decoding_errors() {
        let pool = |id: &str, sold| PoolRecord { id: id.to_owned(), initial: 5, sold, epoch: 0 }.decode();
        assert!(pool("item:1", 5).is_ok());
        assert!(matches!(pool("item:1", -1), Err(sqlx::Error::Decode(_))));
        assert!(matches!(pool("shelf:1", 5), Err(sqlx::Error::Decode(_))));
        assert!(matches!(word("orders.status", "lost", OrderStatus::parse), Err(sqlx::Error::Decode(_))));
    }

    #[test]
    fn every_role_and_closing_reads_back() {
        for role in [Role::Shopper, Role::Admin] {
            assert_eq!(parse_role(role_word(role)), Some(role));
        }
        for closing in [Closing::Paid, Closing::Cancelled, Closing::Expired] {
            assert_eq!(parse_closing(closing.status().as_str()), Some(closing));
        }
    }
}
