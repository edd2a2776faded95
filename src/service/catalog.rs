//! The catalogue: items and promos as everybody reads them, from memory.
//!
//! Knows the store and how old an answer may be. Knows no ledger: what is *available* is asked there. However many ask
//! at once, the database is asked once. A write in this process is seen at once (see [`Catalog::changed`]), a write
//! in another one after the entries' short life.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;

use crate::{
    domain::{Item, ItemId, Promo, PromoId, Timestamp},
    store::port::{ItemStore, PromoStore, StoreError},
};

/// Items, and promos, that are remembered one by one.
const MAX_SINGLES: u64 = 10_000;
/// Rows that are remembered in all pages together.
const MAX_PAGE_ROWS: u64 = 2_000;

/// The database failed, for everybody who waited for the same answer.
#[derive(Clone, Debug, thiserror::Error)]
#[error(transparent)]
pub struct CatalogError(#[from] Arc<StoreError>);

impl CatalogError {
    /// What the database said.
    pub fn store(&self) -> &StoreError {
        &self.0
    }
}

/// Some rows of a longer list in ascending order of id.
#[derive(Clone, Debug)]
pub struct Page<T> {
    pub rows: Arc<[Arc<T>]>,
    /// There are more rows after the last of these.
    pub more: bool,
}

/// Answers kept of a question that has only one: of the current generation and a few old ones, which a cache that
/// prefers what was asked often would otherwise keep instead.
const GENERATIONS: u64 = 16;

/// What a cache knows an answer by: the catalogue's generation at the time of the question, and the question.
type Key<T> = (u64, T);

/// Reads of items and promos, remembered for a short while.
pub struct Catalog {
    item_store: Arc<dyn ItemStore>,
    promo_store: Arc<dyn PromoStore>,
    generation: AtomicU64,
    items: Cache<Key<ItemId>, Option<Arc<Item>>>,
    promos: Cache<Key<PromoId>, Option<Arc<Promo>>>,
    item_pages: Cache<Key<(Option<ItemId>, u32)>, Page<Item>>,
    promo_pages: Cache<Key<(Option<PromoId>, u32)>, Page<Promo>>,
    live: Cache<Key<()>, Arc<Live>>,
    unsettled: Cache<Key<()>, Arc<[PromoId]>>,
}

impl Catalog {
    /// `life`: how old an answer may be that another process has changed meanwhile.
    pub fn new(item_store: Arc<dyn ItemStore>, promo_store: Arc<dyn PromoStore>, life: Duration) -> Self {
        Self {
            item_store,
            promo_store,
            generation: AtomicU64::new(0),
            items: Cache::builder().max_capacity(MAX_SINGLES).time_to_live(life).build(),
            promos: Cache::builder().max_capacity(MAX_SINGLES).time_to_live(life).build(),
            item_pages: Cache::builder()
                .weigher(|_, page: &Page<Item>| page.weight())
                .max_capacity(MAX_PAGE_ROWS)
                .time_to_live(life)
                .build(),
            promo_pages: Cache::builder()
                .weigher(|_, page: &Page<Promo>| page.weight())
                .max_capacity(MAX_PAGE_ROWS)
                .time_to_live(life)
                .build(),
            live: Cache::builder().max_capacity(GENERATIONS).time_to_live(life).build(),
            unsettled: Cache::builder().max_capacity(GENERATIONS).time_to_live(life).build(),
        }
    }

    /// The item, if there is one.
    pub async fn item(&self, id: ItemId) -> Result<Option<Arc<Item>>, CatalogError> {
        let load = async { self.item_store.item(id).await.map(|item| item.map(Arc::new)) };
        Ok(self.items.try_get_with(self.key(id), load).await?)
    }

    /// The items after `after`, at most `limit`.
    pub async fn items(&self, after: Option<ItemId>, limit: u32) -> Result<Page<Item>, CatalogError> {
        let load = async { self.item_store.items(after, limit + 1).await.map(|rows| Page::cut(rows, limit)) };
        Ok(self.item_pages.try_get_with(self.key((after, limit)), load).await?)
    }

    /// The promo, whatever its stage.
    pub async fn promo(&self, id: PromoId) -> Result<Option<Arc<Promo>>, CatalogError> {
        let load = async { self.promo_store.promo(id).await.map(|promo| promo.map(Arc::new)) };
        Ok(self.promos.try_get_with(self.key(id), load).await?)
    }

    /// The promos after `after` that are not drafts, at most `limit`.
    pub async fn promos(&self, after: Option<PromoId>, limit: u32) -> Result<Page<Promo>, CatalogError> {
        let load = async {
            self.promo_store.promos(after, limit + 1, false).await.map(|rows| Page::cut(rows, limit))
        };
        Ok(self.promo_pages.try_get_with(self.key((after, limit)), load).await?)
    }

    /// The item's promo that is ongoing (or paused) at `now`, or else the next one.
    pub async fn current_promo(
        &self,
        item: ItemId,
        now: Timestamp,
    ) -> Result<Option<Arc<Promo>>, CatalogError> {
        Ok(self.live().await?.current(item, now).cloned())
    }

    /// Every promo that is published or paused, by start.
    pub async fn live_promos(&self) -> Result<Arc<[Arc<Promo>]>, CatalogError> {
        Ok(Arc::clone(&self.live().await?.promos))
    }

    /// Every ended promo of which an order still awaits its payment.
    pub async fn unsettled_promos(&self) -> Result<Arc<[PromoId]>, CatalogError> {
        let load = async {
            let promos = self.promo_store.unsettled_promos().await?;
            Ok(promos.into_iter().map(|promo| promo.id).collect())
        };
        Ok(self.unsettled.try_get_with(self.key(()), load).await?)
    }

    /// Forgets every answer, to be called after each write. A question asked from now on does not share the answer
    /// of one that was asked before, even if that one is still on its way to the database. Writes are an
    /// administrator's and rare, so that it would not pay to forget less.
    pub fn changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    async fn live(&self) -> Result<Arc<Live>, CatalogError> {
        let load = async { self.promo_store.live_promos().await.map(|promos| Arc::new(Live::new(promos))) };
        Ok(self.live.try_get_with(self.key(()), load).await?)
    }

    fn key<T>(&self, question: T) -> Key<T> {
        (self.generation.load(Ordering::Acquire), question)
    }
}

impl<T> Page<T> {
    /// A page of at most `limit` of these rows; one more than that says that there are more.
    pub(super) fn cut(rows: Vec<T>, limit: u32) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self { more: rows.len() > limit, rows: rows.into_iter().take(limit).map(Arc::new).collect() }
    }

    fn weight(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX).saturating_add(1)
    }
}

/// The promos that are published or paused. Which of them is an item's *current* one changes with the time, so the
/// whole schedule is remembered and asked with an instant.
struct Live {
    promos: Arc<[Arc<Promo>]>,
    by_item: HashMap<ItemId, Vec<Arc<Promo>>>,
}

impl Live {
    fn new(mut promos: Vec<Promo>) -> Self {
        promos.sort_by_key(|promo| (promo.starts_at, promo.id.0));
        let promos: Arc<[Arc<Promo>]> = promos.into_iter().map(Arc::new).collect();
        let mut by_item = HashMap::<_, Vec<_>>::new();
        for promo in promos.iter() {
            by_item.entry(promo.item_id).or_default().push(Arc::clone(promo));
        }
        Self { promos, by_item }
    }

    /// Promos of one item do not overlap, so the first that is not over is the ongoing or the next one.
    fn current(&self, item: ItemId, now: Timestamp) -> Option<&Arc<Promo>> {
        self.by_item.get(&item)?.iter().find(|promo| now < promo.ends_at)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use async_trait::async_trait;

    use super::*;
    use crate::{
        domain::{Admission, ItemPatch, NewItem, NewPromo, Price, PromoStage, Seed},
        store::port::{StageError, StockError},
    };

    /// A shop of one item, which counts how often it is asked.
    #[derive(Default)]
    struct Shop {
        asked: AtomicUsize,
    }

    #[async_trait]
    impl ItemStore for Shop {
        async fn create_item(&self, _: &NewItem, _: Timestamp) -> Result<Item, StoreError> {
            unreachable!("the catalogue does not ask this")
        }
        async fn item(&self, id: ItemId) -> Result<Option<Item>, StoreError> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            Ok(Some(Item {
                id,
                title: String::new(),
                description: String::new(),
                image_url: String::new(),
                price: Price(1),
                stock: 1,
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
            unreachable!("the catalogue does not ask this")
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
}
