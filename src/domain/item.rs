//! Products.

use super::{ItemId, Price, Timestamp};

/// A product with a list price. Its stock lives in the pool [`super::PoolId::Item`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub id: ItemId,
    pub title: String,
    pub description: String,
    pub image_url: String,
    pub price: Price,
    /// Units in the item's own pool that are not sold, as the database has it.
    pub stock: u32,
    pub created_at: Timestamp,
}

/// A product to be created, checked.
#[derive(Clone, Debug)]
pub struct NewItem {
    pub title: String,
    pub description: String,
    pub image_url: String,
    pub price: Price,
    pub stock: u32,
}

/// An edit of a product: only what is `Some` changes.
#[derive(Clone, Debug, Default)]
pub struct ItemPatch {
    pub title: Option<String>,
    pub description: Option<String>,
    pub image_url: Option<String>,
    pub price: Option<Price>,
}
