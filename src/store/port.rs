//! The DAOs: what services ask of the database.

use async_trait::async_trait;
use sqlx::mysql::MySqlDatabaseError;

use crate::{
    domain::{
        Admission, Epoch, Item, ItemId, ItemPatch, NewItem, NewPromo, NewUser, Order, OrderId, OrderStatus,
        PoolId, Promo, PromoId, PromoStage, Timestamp, User, UserId, Verdict,
    },
    reservation::port::{Closing, OpeningOrder, Reservation},
};

/// The database did not do what was asked; nothing was changed. The text is for the log, never for a client.
#[derive(Debug, thiserror::Error)]
#[error("the database failed: {0}")]
pub struct StoreError(#[from] pub sqlx::Error);

impl StoreError {
    /// Whether the server is not there, and may come.
    pub fn is_absence(&self) -> bool {
        matches!(&self.0, sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut)
    }

    /// Whether the very same statements can never succeed, because the data itself is refused.
    pub fn is_permanent(&self) -> bool {
        use sqlx::error::ErrorKind::{
            CheckViolation, ForeignKeyViolation, NotNullViolation, UniqueViolation,
        };
        let sqlx::Error::Database(error) = &self.0 else { return false };
        match error.kind() {
            UniqueViolation | ForeignKeyViolation | NotNullViolation | CheckViolation => true,
            // SQLSTATE class 22 is a value that its column cannot hold: too long, or out of range.
            _ => error
                .try_downcast_ref::<MySqlDatabaseError>()
                .and_then(MySqlDatabaseError::code)
                .is_some_and(|state| state.starts_with("22")),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CreateUserError {
    #[error("the e-mail address is taken")]
    EmailTaken,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Users in one call of [`UserStore::create_users`]: what one statement carries on either database.
pub const MAX_USERS_AT_ONCE: usize = 1000;

#[async_trait]
pub trait UserStore: Send + Sync {
    async fn create_user(&self, user: &NewUser, now: Timestamp) -> Result<User, CreateUserError> {
        let created = self.create_users(std::slice::from_ref(user), now).await?;
        created.into_iter().next().ok_or_else(|| StoreError(sqlx::Error::RowNotFound).into())
    }
    /// Creates all of these users, or none; at most [`MAX_USERS_AT_ONCE`]. They come back in ascending order of id.
    async fn create_users(&self, users: &[NewUser], now: Timestamp) -> Result<Vec<User>, CreateUserError>;
    async fn user(&self, id: UserId) -> Result<Option<User>, StoreError>;
    /// The user and their password hash, by e-mail address in lower case.
    async fn user_by_email(&self, email: &str) -> Result<Option<(User, String)>, StoreError>;
    async fn rename_user(&self, id: UserId, display_name: &str) -> Result<Option<User>, StoreError>;
}

/// Stock of an item could not be changed; nothing was.
#[derive(Debug, thiserror::Error)]
pub enum StockError {
    #[error("there is no such item")]
    NotFound,
    /// Fewer units are unsold than were to be taken away, or more than [`MAX_STOCK`] would be there.
    #[error("the stock cannot be changed by that much")]
    OutOfRange,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Units a pool may hold at most.
pub const MAX_STOCK: u32 = 100_000_000;

#[async_trait]
pub trait ItemStore: Send + Sync {
    /// Creates the item and its pool.
    async fn create_item(&self, item: &NewItem, now: Timestamp) -> Result<Item, StoreError>;
    async fn item(&self, id: ItemId) -> Result<Option<Item>, StoreError>;
    /// Items after `after` in ascending order of id, at most `limit`.
    async fn items(&self, after: Option<ItemId>, limit: u32) -> Result<Vec<Item>, StoreError>;
    async fn update_item(&self, id: ItemId, patch: &ItemPatch) -> Result<Option<Item>, StoreError>;
    /// Adds `delta` to the initial units of the item's pool, never below what is sold.
    async fn restock(&self, id: ItemId, delta: i32) -> Result<Item, StockError>;
}

/// A promo's stage could not be changed; nothing was.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error("there is no such promo")]
    NotFound,
    /// The promo is not in a stage from which this is possible.
    #[error("the promo is {0:?}")]
    WrongStage(PromoStage),
    /// Another published promo of the item overlaps in time.
    #[error("promo {0} of the same item overlaps")]
    Overlaps(PromoId),
    /// The item's pool has fewer unsold units than the promo's stock.
    #[error("the item has not enough stock")]
    NotEnoughStock,
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[async_trait]
pub trait PromoStore: Send + Sync {
    /// Creates a draft. `None`: there is no such item.
    async fn create_promo(&self, promo: &NewPromo, now: Timestamp) -> Result<Option<Promo>, StoreError>;
    async fn promo(&self, id: PromoId) -> Result<Option<Promo>, StoreError>;
    /// Promos after `after` in ascending order of id, at most `limit`; drafts only if asked for.
    async fn promos(
        &self,
        after: Option<PromoId>,
        limit: u32,
        drafts: bool,
    ) -> Result<Vec<Promo>, StoreError>;
    /// Every promo that is published or paused.
    async fn live_promos(&self) -> Result<Vec<Promo>, StoreError>;
    /// Every ended promo of which an order still awaits its payment.
    async fn unsettled_promos(&self) -> Result<Vec<Promo>, StoreError>;
    /// Moves a draft's stock from the item's pool into a new pool of its own, and publishes it.
    async fn publish_promo(&self, id: PromoId, now: Timestamp) -> Result<Promo, StageError>;
    /// Moves the promo from one of the stages `from` to the stage `to`. Already there: nothing changes, no error.
    async fn set_stage(&self, id: PromoId, from: &[PromoStage], to: PromoStage) -> Result<Promo, StageError>;
    async fn set_admission(&self, id: PromoId, admission: Admission) -> Result<Option<Promo>, StoreError>;
    /// Moves up to `units` unsold units from the promo's pool back to its item's; returns how many it moved.
    async fn return_stock(&self, id: PromoId, units: u32) -> Result<u32, StoreError>;
}

/// An order could not be paid or cancelled; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    #[error("there is no such order")]
    NotFound,
    /// The order is in a status from which this is not possible.
    #[error("the order is {0:?}")]
    WrongStatus(OrderStatus),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The writer's answer to one reservation of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The verdict that is in the database now, by this batch or an earlier one.
    Verdict(Verdict),
    /// The record can never become a row; it belongs to the dead letters.
    Impossible(&'static str),
}

/// A closing that the ledger has not heard of yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    pub id: i64,
    pub order_id: OrderId,
    pub pool: PoolId,
    pub user_id: UserId,
    pub closing: Closing,
}

/// A pool's units as the database has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolRow {
    pub pool: PoolId,
    pub initial: u32,
    pub sold: u32,
    /// The building of its ledger that may sell from it.
    pub epoch: Epoch,
}

/// A pool as an auditor reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Books {
    pub row: PoolRow,
    /// Units that are no longer sold here while the ledger may still count them as sold.
    pub returning: u32,
}

#[async_trait]
pub trait OrderStore: Send + Sync {
    async fn order(&self, user: UserId, id: OrderId) -> Result<Option<Order>, StoreError>;
    /// The user's orders before `before`, newest first, at most `limit`.
    async fn orders(
        &self,
        user: UserId,
        before: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<Order>, StoreError>;

    /// Writes a batch under the row locks of its pools, in one transaction. The answers are in the batch's order.
    /// A reservation that was written before gets the verdict it got then.
    async fn write_batch(&self, batch: &[Reservation], now: Timestamp) -> Result<Vec<Written>, StoreError>;

    /// Pays a posted order inside its window. Paid already: returns it unchanged.
    async fn pay(&self, user: UserId, id: OrderId, now: Timestamp) -> Result<Order, CloseError>;
    /// Cancels a posted order that is not paid. Cancelled already: returns it unchanged.
    async fn cancel(&self, user: UserId, id: OrderId) -> Result<Order, CloseError>;
    /// Expires at most `limit` posted orders whose payment window is over; returns how many it found.
    async fn expire_due(&self, now: Timestamp, limit: u32) -> Result<usize, StoreError>;
    /// Whether an order of the promo still awaits its payment.
    async fn has_unpaid(&self, promo: PromoId) -> Result<bool, StoreError>;

    /// The oldest closings the ledger has not heard of, at most `limit`.
    async fn outbox(&self, limit: u32) -> Result<Vec<OutboxEntry>, StoreError>;
    /// Forgets closings the ledger has applied.
    async fn outbox_done(&self, ids: &[i64]) -> Result<(), StoreError>;

    async fn pool(&self, pool: PoolId) -> Result<Option<PoolRow>, StoreError>;
    /// The pool's units, and those of closings the ledger has not heard of, at one instant.
    async fn books(&self, pool: PoolId) -> Result<Option<Books>, StoreError>;
    async fn pools(&self) -> Result<Vec<PoolRow>, StoreError>;
    /// The orders a ledger must know again after a restart, oldest first: all that await payment; for a promo's pool
    /// that is still live (`everything`), all of them; otherwise those made since `since`.
    async fn opening_orders(
        &self,
        pool: PoolId,
        everything: bool,
        since: Timestamp,
    ) -> Result<Vec<OpeningOrder>, StoreError>;

    /// Begins the epoch after `from`, in which the pool's ledger is built anew: returns the row, with the new epoch, and
    /// the orders that the ledger must know, as [`Self::opening_orders`] gives them. `None`: there is no such pool, or
    /// it is not at `from` any more, because somebody else builds its ledger; nothing changed.
    ///
    /// Both are read under the pool's lock: an order that is written later and is not among them was reserved in the new
    /// epoch, or [`Self::write_batch`] voids it.
    async fn next_epoch(
        &self,
        pool: PoolId,
        from: Epoch,
        everything: bool,
        since: Timestamp,
    ) -> Result<Option<(PoolRow, Vec<OpeningOrder>)>, StoreError>;

    /// Whether `holder` has the lease `name` until `now` and `ttl_ms` from now on: it was free, has run out, or was the
    /// holder's own, which this renews. Of many nodes that ask before a periodic job, one is told to do it.
    async fn lease(&self, name: &str, holder: &str, now: Timestamp, ttl_ms: u64) -> Result<bool, StoreError>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// A whole database: every DAO at once, and its end.
#[async_trait]
pub trait Store: UserStore + ItemStore + PromoStore + OrderStore {
    /// Waits for the connections to finish, and closes them.
    async fn close(&self);
}
