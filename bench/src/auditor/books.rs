//! What the shop says afterwards: the promo, its ledgers, the draw, and the orders of every shopper.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::shop::{Account, LedgerAudit, Order, Promo, Shop};

/// Shoppers whose orders are read at once.
const READERS: usize = 16;
/// How long accepted orders may take to be settled before the books are read as they are.
const SETTLES_WITHIN: Duration = Duration::from_secs(30);
/// The pause between two looks at a ledger that is not at rest.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// The shop's books on one promo.
#[derive(Clone, Debug)]
pub struct Books {
    pub promo: Promo,
    pub ledger: LedgerAudit,
    /// Keys of the lobby by number.
    pub draw: BTreeMap<u64, String>,
    /// Orders for this promo by shopper.
    pub orders: HashMap<i64, Vec<Order>>,
}

impl Books {
    /// Reads the books on a promo once nothing is pending there any more; [`add_orders`] adds the orders.
    pub async fn open(shop: &Shop, promo: i64) -> anyhow::Result<Self> {
        let ledger = settled(shop, promo).await?;
        let draw = shop.draw(promo).await?;
        Ok(Self { promo: shop.promo(promo).await?, ledger, draw, orders: HashMap::new() })
    }
}

/// Reads all orders of these shoppers into the books of their promos.
pub async fn add_orders(shop: &Shop, books: &mut [Books], accounts: &[Account]) -> anyhow::Result<()> {
    let mut by_promo: HashMap<_, _> = books.iter_mut().map(|books| (books.promo.id, books)).collect();
    for (user, order) in orders(shop, accounts).await? {
        if let Some(books) = order.promo_id.and_then(|promo| by_promo.get_mut(&promo)) {
            books.orders.entry(user).or_default().push(order);
        }
    }
    Ok(())
}

async fn settled(shop: &Shop, promo: i64) -> anyhow::Result<LedgerAudit> {
    let deadline = Instant::now() + SETTLES_WITHIN;
    loop {
        let ledger = shop.audit(promo).await?;
        let at_rest = ledger.pending == 0 && ledger.ok && ledger.database.sold == ledger.sold;
        if at_rest || Instant::now() >= deadline {
            return Ok(ledger);
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }
}

async fn orders(shop: &Shop, accounts: &[Account]) -> anyhow::Result<Vec<(i64, Order)>> {
    let slots = Arc::new(Semaphore::new(READERS));
    let mut reading = JoinSet::new();
    for (turn, account) in accounts.iter().enumerate() {
        let slot = Arc::clone(&slots).acquire_owned().await?;
        let (shop, account) = (shop.clone(), account.clone());
        reading.spawn(async move {
            let orders = shop.orders_of(&account, turn).await;
            drop(slot);
            (account.user_id, orders)
        });
    }
    let mut all = Vec::new();
    while let Some(read) = reading.join_next().await {
        let (user, orders) = read?;
        let orders = orders.with_context(|| format!("the orders of shopper {user} cannot be read"))?;
        all.extend(orders.into_iter().map(|order| (user, order)));
    }
    Ok(all)
}
