//! The catalogue: items and promos as everybody reads them, from memory.
//!
//! Knows the store, the answers that nodes share ([`HotReads`], if there are other nodes) and how old an answer may be. Knows no ledger:
//! what is *available* is asked there. However many ask at once, the database is asked once. A write in this process is
//! seen at once (see [`Catalog::changed`]), a write in another one as soon as it is heard of, and without that after the
//! entries' short life.

mod stored;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;

use self::stored::Stored;
use super::hot::{HotReads, Look};
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
    hot: Option<Arc<dyn HotReads>>,
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
            hot: None,
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

    /// The same, sharing its answers with other nodes: what this process's memory does not know is asked there, and only
    /// then in the database.
    #[must_use]
    pub fn sharing(self, hot: Arc<dyn HotReads>) -> Self {
        Self { hot: Some(hot), ..self }
    }

    /// The item, if there is one.
    pub async fn item(&self, id: ItemId) -> Result<Option<Arc<Item>>, CatalogError> {
        let load = async {
            let load = async { Ok(self.item_store.item(id).await?.into_iter().collect()) };
            Ok(self.shared(&format!("item:{id}"), load).await?.pop().map(Arc::new))
        };
        Ok(self.items.try_get_with(self.key(id), load).await?)
    }

    /// The items after `after`, at most `limit`.
    pub async fn items(&self, after: Option<ItemId>, limit: u32) -> Result<Page<Item>, CatalogError> {
        let load = async {
            let rows = self.item_store.items(after, limit + 1);
            let rows = match after {
                None => self.shared(&format!("items:{limit}"), rows).await?,
                // Anybody can make up cursors, and each would take room in a memory that is not bounded by this module.
                Some(_) => rows.await?,
            };
            Ok(Page::cut(rows, limit))
        };
        Ok(self.item_pages.try_get_with(self.key((after, limit)), load).await?)
    }

    /// The promo, whatever its stage.
    pub async fn promo(&self, id: PromoId) -> Result<Option<Arc<Promo>>, CatalogError> {
        let load = async {
            let load = async { Ok(self.promo_store.promo(id).await?.into_iter().collect()) };
            Ok(self.shared(&format!("promo:{id}"), load).await?.pop().map(Arc::new))
        };
        Ok(self.promos.try_get_with(self.key(id), load).await?)
    }

    /// The promos after `after` that are not drafts, at most `limit`.
    pub async fn promos(&self, after: Option<PromoId>, limit: u32) -> Result<Page<Promo>, CatalogError> {
        let load = async {
            let rows = self.promo_store.promos(after, limit + 1, false);
            let rows = match after {
                None => self.shared(&format!("promos:{limit}"), rows).await?,
                // Anybody can make up cursors, and each would take room in a memory that is not bounded by this module.
                Some(_) => rows.await?,
            };
            Ok(Page::cut(rows, limit))
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
            let load = async {
                let promos = self.promo_store.unsettled_promos().await?;
                Ok(promos.into_iter().map(|promo| promo.id).collect())
            };
            Ok(self.shared("unsettled", load).await?.into())
        };
        Ok(self.unsettled.try_get_with(self.key(()), load).await?)
    }

    /// Forgets every answer, to be called after each write. A question asked from now on does not share the answer
    /// of one that was asked before, even if that one is still on its way to the database. Other nodes hear of it a moment
    /// later. Writes are an administrator's and rare, so that it would not pay to forget less.
    pub fn changed(&self) {
        // In this order: from the new generation on, no shared answer is taken that is not new either.
        if let Some(hot) = &self.hot {
            hot.forget_all();
        }
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    async fn live(&self) -> Result<Arc<Live>, CatalogError> {
        let load = async {
            let promos = self.shared("live", self.promo_store.live_promos()).await?;
            Ok(Arc::new(Live::new(promos)))
        };
        Ok(self.live.try_get_with(self.key(()), load).await?)
    }

    /// The answer that other nodes know, or else the database's, which they know from then on.
    async fn shared<T: Stored>(
        &self,
        question: &str,
        load: impl Future<Output = Result<Vec<T>, StoreError>>,
    ) -> Result<Vec<T>, StoreError> {
        let Some(hot) = &self.hot else { return load.await };
        match hot.look(&format!("v{}:{question}", stored::VERSION)).await {
            Look::Skip => load.await,
            Look::Found(text) => match stored::read(&text) {
                Some(rows) => Ok(rows),
                None => load.await,
            },
            Look::Load(ticket) => {
                let rows = load.await?;
                // Anybody can make up ids too, so it is not shared that there is nothing.
                hot.keep(ticket, (!rows.is_empty()).then(|| stored::write(&rows))).await;
                Ok(rows)
            }
        }
    }

    /// Both counters only grow, so the sum is new whenever either is.
    fn key<T>(&self, question: T) -> Key<T> {
        let heard = self.hot.as_ref().map_or(0, |hot| hot.heard());
        (self.generation.load(Ordering::Acquire).wrapping_add(heard), question)
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
mod tests;
