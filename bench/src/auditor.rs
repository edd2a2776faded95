//! The auditor: was every promise kept? Compares what each shopper heard with the shop's books. Every count must be 0.
//!
//! [`Books`] are read over REST, [`judge`] is pure.

mod books;
mod verdict;

pub use books::Books;

use books::add_orders;
use verdict::{Verdict, judge};

use crate::{
    found::Found,
    heard::Heard,
    shop::{Account, Shop},
};

/// Completes the books with all orders, judges every promo, and notes the faults.
pub async fn audit(
    shop: &Shop,
    promos: Vec<(Books, Vec<Heard>)>,
    accounts: &[Account],
    found: &mut Found,
) -> anyhow::Result<()> {
    let (mut books, heard): (Vec<_>, Vec<_>) = promos.into_iter().unzip();
    add_orders(shop, &mut books, accounts).await?;
    let mut counted = Verdict::default().faults();
    for (books, shoppers) in books.iter().zip(&heard) {
        for (name, count) in judge(books, shoppers).faults() {
            *counted.entry(name).or_default() += count;
        }
    }
    found.faults.extend(counted);
    Ok(())
}
