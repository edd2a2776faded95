//! What the catalogue promises: alone, and beside another on one Redis.

use std::sync::atomic::{AtomicU32, AtomicUsize};

use async_trait::async_trait;

use super::*;
use crate::{
    domain::{Admission, ItemPatch, NewItem, NewPromo, Price, PromoStage, Seed},
    store::port::{StageError, StockError},
};

mod shared;

/// A shop of one item, which counts how often it is asked.
#[derive(Default)]
struct Shop {
    asked: AtomicUsize,
    /// The item's stock, by which one answer differs from another.
    stock: AtomicU32,
    /// Open for a question to be answered.
    door: tokio::sync::RwLock<()>,
}

#[async_trait]
impl ItemStore for Shop {
    async fn create_item(&self, _: &NewItem, _: Timestamp) -> Result<Item, StoreError> {
        unreachable!("the catalogue does not ask this")
    }
    async fn item(&self, id: ItemId) -> Result<Option<Item>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        // Read before the answer is on its way, as a database does.
        let stock = self.stock.load(Ordering::SeqCst);
        tokio::task::yield_now().await;
        drop(self.door.read().await);
        Ok((id.0 < 100).then(|| Item {
            id,
            title: String::new(),
            description: String::new(),
            image_url: String::new(),
            price: Price(1),
            stock,
            created_at: Timestamp::default(),
        }))
    }
    async fn items(&self, _: Option<ItemId>, _: u32) -> Result<Vec<Item>, StoreError> {
        unreachable!("the catalogue does not ask this")
    }
    async fn update_item(&self, _: ItemId, _: &ItemPatch) -> Result<Option<Item>, StoreError> {
        unreachable!("the catalogue does not ask this")
    }
    async fn restock(&self, _: ItemId, _: i32) -> Result<Item, StockError> {
        unreachable!("the catalogue does not ask this")
    }
}

#[async_trait]
impl PromoStore for Shop {
    async fn create_promo(&self, _: &NewPromo, _: Timestamp) -> Result<Option<Promo>, StoreError> {
        unreachable!("the catalogue does not ask this")
    }
    async fn promo(&self, _: PromoId) -> Result<Option<Promo>, StoreError> {
        unreachable!("the catalogue does not ask this")
    }
    async fn promos(&self, _: Option<PromoId>, _: u32, _: bool) -> Result<Vec<Promo>, StoreError> {
        unreachable!("the catalogue does not ask this")
    }
    async fn unsettled_promos(&self) -> Result<Vec<Promo>, StoreError> {
        unreachable!("the catalogue does not ask this")
    }
    async fn live_promos(&self) -> Result<Vec<Promo>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(vec![promo(1, 300, 400), promo(2, 100, 200)])
    }
    async fn publish_promo(&self, _: PromoId, _: Timestamp) -> Result<Promo, StageError> {
        unreachable!("the catalogue does not ask this")
    }
    async fn set_stage(&self, _: PromoId, _: &[PromoStage], _: PromoStage) -> Result<Promo, StageError> {
        unreachable!("the catalogue does not ask this")
    }
    async fn set_admission(&self, _: PromoId, _: Admission) -> Result<Option<Promo>, StoreError> {
        unreachable!("the catalogue does not ask this")
    }
    async fn return_stock(&self, _: PromoId, _: u32) -> Result<u32, StoreError> {
        unreachable!("the catalogue does not ask this")
    }
}

#[tokio::test]
async fn the_database_is_asked_once_until_something_changes() {
    let shop = Arc::new(Shop::default());
    let catalog = Catalog::new(shop.clone(), shop.clone(), Duration::from_mins(1));
    let (a, b) = tokio::join!(catalog.item(ItemId(1)), catalog.item(ItemId(1)));
    assert!(a.unwrap().is_some() && b.unwrap().is_some());
    assert_eq!(shop.asked.load(Ordering::SeqCst), 1);
    catalog.changed();
    catalog.item(ItemId(1)).await.unwrap();
    assert_eq!(shop.asked.load(Ordering::SeqCst), 2);
}

fn promo(id: i64, starts_at: i64, ends_at: i64) -> Promo {
    Promo {
        id: PromoId(id),
        item_id: ItemId(1),
        title: String::new(),
        price: Price(1),
        stock: 1,
        per_user_limit: 1,
        starts_at: Timestamp::from_millis(starts_at),
        ends_at: Timestamp::from_millis(ends_at),
        admission: Admission { rate_per_s: 1, max_active: 1, pass_ttl_ms: 1000 },
        payment_window_ms: 1000,
        seed: Seed([0; 32]),
        stage: PromoStage::Published,
        created_at: Timestamp::default(),
    }
}

#[test]
fn the_current_promo_is_the_ongoing_or_the_next_one() {
    let live = Live::new(vec![promo(1, 300, 400), promo(2, 100, 200)]);
    let current = |now| live.current(ItemId(1), Timestamp::from_millis(now)).map(|promo| promo.id.0);
    assert_eq!(current(0), Some(2));
    assert_eq!(current(199), Some(2));
    assert_eq!(current(200), Some(1));
    assert_eq!(current(400), None);
    assert!(live.current(ItemId(2), Timestamp::default()).is_none());
}
