//! The words of the shop as types: ids, money, times, users, items, promos, orders.
//!
//! Pure: no I/O, no clock, no engine. Everything else in the crate may know this module; it knows nothing else.

mod ids;
mod item;
mod money;
mod order;
mod promo;
mod standing;
mod time;
mod user;

pub use ids::{Epoch, ItemId, OrderId, PoolId, PromoId, RequestId, UserId};
pub use item::{Item, ItemPatch, NewItem};
pub use money::{Currency, Price};
pub use order::{Order, OrderStatus, Reason, Verdict};
pub use promo::{Admission, DrawKey, NewPromo, Promo, PromoStage, PromoStatus, Seed, SeedCommit};
pub use standing::{Gone, Phase, Standing, StandingReason};
pub use time::Timestamp;
pub use user::{NewUser, Role, User};
