//! Items and promos as nodes share them: rows in JSON, with a version.
//!
//! A promo is shared with the secret of its draw. That is decided: joining needs it, a lobby's draw keys lie in the same Redis
//! already, and whoever reads those before the opening, or writes to that Redis, can do all that the secret would allow.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::domain::{Admission, Item, ItemId, Price, Promo, PromoId, PromoStage, Seed, Timestamp};

/// The version of the form. It is part of each question too, so that two versions of the program do not fight over one answer.
pub const VERSION: u32 = 1;

/// A row that can be shared.
pub trait Stored: Sized {
    type Form: Serialize + DeserializeOwned;

    fn form(&self) -> Self::Form;

    /// `None`: the form holds something that this version does not know.
    fn of(form: Self::Form) -> Option<Self>;
}

#[derive(Serialize, Deserialize)]
struct Answer<T> {
    v: u32,
    rows: Vec<T>,
}

/// The rows as text.
pub fn write<T: Stored>(rows: &[T]) -> String {
    let answer = Answer { v: VERSION, rows: rows.iter().map(Stored::form).collect() };
    serde_json::to_string(&answer).expect("a row has no map with other keys than strings")
}

/// The rows of a text; `None` if it cannot be read.
pub fn read<T: Stored>(text: &str) -> Option<Vec<T>> {
    let answer: Answer<T::Form> = serde_json::from_str(text).ok()?;
    if answer.v != VERSION {
        return None;
    }
    answer.rows.into_iter().map(T::of).collect()
}

#[derive(Serialize, Deserialize)]
pub struct ItemForm {
    id: ItemId,
    title: String,
    description: String,
    image_url: String,
    price: Price,
    stock: u32,
    created_at: Timestamp,
}

impl Stored for Item {
    type Form = ItemForm;

    fn form(&self) -> ItemForm {
        let Self { id, title, description, image_url, price, stock, created_at } = self.clone();
        ItemForm { id, title, description, image_url, price, stock, created_at }
    }

    fn of(form: ItemForm) -> Option<Self> {
        let ItemForm { id, title, description, image_url, price, stock, created_at } = form;
        Some(Self { id, title, description, image_url, price, stock, created_at })
    }
}

#[derive(Serialize, Deserialize)]
pub struct PromoForm {
    id: PromoId,
    item_id: ItemId,
    title: String,
    price: Price,
    stock: u32,
    per_user_limit: u32,
    starts_at: Timestamp,
    ends_at: Timestamp,
    admission: Admission,
    payment_window_ms: u64,
    seed: String,
    stage: String,
    created_at: Timestamp,
}

impl Stored for Promo {
    type Form = PromoForm;

    fn form(&self) -> PromoForm {
        PromoForm {
            id: self.id,
            item_id: self.item_id,
            title: self.title.clone(),
            price: self.price,
            stock: self.stock,
            per_user_limit: self.per_user_limit,
            starts_at: self.starts_at,
            ends_at: self.ends_at,
            admission: self.admission,
            payment_window_ms: self.payment_window_ms,
            seed: self.seed.to_string(),
            stage: self.stage.as_str().to_owned(),
            created_at: self.created_at,
        }
    }

    fn of(form: PromoForm) -> Option<Self> {
        Some(Self {
            id: form.id,
            item_id: form.item_id,
            title: form.title,
            price: form.price,
            stock: form.stock,
            per_user_limit: form.per_user_limit,
            starts_at: form.starts_at,
            ends_at: form.ends_at,
            admission: form.admission,
            payment_window_ms: form.payment_window_ms,
            seed: Seed(hex::decode(form.seed).ok()?.try_into().ok()?),
            stage: PromoStage::parse(&form.stage)?,
            created_at: form.created_at,
        })
    }
}

impl Stored for PromoId {
    type Form = Self;

    fn form(&self) -> Self {
        *self
    }

    fn of(form: Self) -> Option<Self> {
        Some(form)
    }
}
