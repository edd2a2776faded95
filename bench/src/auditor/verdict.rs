//! The verdict on one promo. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::Books;
use crate::{
    heard::Heard,
    shop::{LedgerAudit, Order, Promo},
};

/// Statuses of an order that holds its units.
const LIVE: [&str; 3] = ["pending", "awaiting_payment", "paid"];
/// Terminal outcomes of an accepted order that was sold.
const SOLD: [&str; 2] = ["awaiting_payment", "paid"];

/// Refusals that no holder of a pass may get. Others say "later", and took nothing.
const BREAKS_PASS: [&str; 4] = ["no_pass", "sold_out", "limit_reached", "not_started"];

/// Broken promises, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Units sold beyond the stock, by any of the books.
    pub oversold: u64,
    /// Units that nobody has and nobody can buy, or that the books disagree on.
    pub stranded: u64,
    /// Orders without an answer, and accepted orders without an outcome.
    pub unanswered: u64,
    /// Further answers or outcomes of orders that had one.
    pub answered_twice: u64,
    /// Outcomes and orders at another price than the promo's.
    pub wrong_price: u64,
    /// Shoppers who got their pass before somebody with a smaller number, and places that changed.
    pub place_inversions: u64,
    /// Lobby places that do not follow from the seed, or a seed that was not the sealed one.
    pub wrong_draw: u64,
    /// Shoppers whose orders in the shop are not those they were told of.
    pub contradicted: u64,
    /// Holders of a pass whose order was refused for good.
    pub pass_refused: u64,
    /// Sockets that the server or the network dropped.
    pub lost_sockets: u64,
}

impl Verdict {
    /// The counts by name.
    pub fn faults(&self) -> BTreeMap<String, u64> {
        [
            ("oversold", self.oversold),
            ("stranded", self.stranded),
            ("unanswered", self.unanswered),
            ("answered_twice", self.answered_twice),
            ("wrong_price", self.wrong_price),
            ("place_inversions", self.place_inversions),
            ("wrong_draw", self.wrong_draw),
            ("contradicted", self.contradicted),
            ("pass_refused", self.pass_refused),
            ("lost_sockets", self.lost_sockets),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
    }
}

/// Judges one promo by its books and by what every shopper heard. All of the promo's shoppers must be there.
pub fn judge(books: &Books, shoppers: &[Heard]) -> Verdict {
    let mut verdict = Verdict {
        oversold: oversold(books),
        stranded: stranded(books, shoppers),
        place_inversions: inversions(shoppers),
        wrong_draw: wrong_draw(books, shoppers),
        ..Verdict::default()
    };
    for heard in shoppers {
        let orders = books.orders.get(&heard.user_id).map_or(&[][..], Vec::as_slice);
        verdict.unanswered += unanswered(heard);
        verdict.answered_twice += answered_twice(heard);
        verdict.wrong_price += wrong_prices(&books.promo, heard, orders);
        verdict.contradicted += u64::from(contradicted(heard, orders));
        verdict.pass_refused += u64::from(pass_refused(heard));
        verdict.lost_sockets += u64::from(heard.lost.is_some());
    }
    verdict
}

fn live_units(books: &Books) -> u64 {
    let orders = books.orders.values().flatten();
    orders.filter(|order| LIVE.contains(&order.status.as_str())).map(|order| u64::from(order.quantity)).sum()
}

fn oversold(books: &Books) -> u64 {
    let LedgerAudit { initial, sold, pending, database, .. } = &books.ledger;
    let stock = u64::from(books.promo.stock);
    let by_orders = live_units(books).saturating_sub(stock);
    let by_ledger = (u64::from(*sold) + u64::from(*pending)).saturating_sub(u64::from(*initial));
    let by_database = u64::from(database.sold).saturating_sub(u64::from(database.initial));
    by_orders.max(by_ledger).max(by_database)
}

/// Units that are still pending at rest, units that the ledger, the database and the orders count differently, and units
/// left although somebody waits for one.
fn stranded(books: &Books, shoppers: &[Heard]) -> u64 {
    let LedgerAudit { initial, available, sold, pending, ok, database } = &books.ledger;
    let counted = u64::from(*available) + u64::from(*pending) + u64::from(*sold);
    let unbalanced = counted.abs_diff(u64::from(*initial)).max(u64::from(!*ok));
    let orders = live_units(books);
    let disagreed = orders.abs_diff(u64::from(database.sold)).max(orders.abs_diff(u64::from(*sold)));
    let waiting = shoppers.iter().filter(|heard| heard.accepted.is_empty() && heard.lost.is_none()).count();
    let left = u64::from(*available).min(waiting as u64);
    u64::from(*pending) + unbalanced + disagreed + left
}

fn unanswered(heard: &Heard) -> u64 {
    if heard.asked.is_none() {
        return 0;
    }
    let silence = heard.accepted.is_empty() && heard.refused.is_empty();
    let told = |order| heard.outcomes.iter().any(|outcome| outcome.order_id == order);
    let open = heard.accepted.iter().filter(|order| !told(**order)).count();
    u64::from(silence) + open as u64
}

fn answered_twice(heard: &Heard) -> u64 {
    let answers = heard.accepted.len() + heard.refused.len();
    let distinct: HashSet<_> = heard.outcomes.iter().map(|outcome| outcome.order_id).collect();
    (answers.saturating_sub(1) + heard.outcomes.len() - distinct.len()) as u64
}

fn pass_refused(heard: &Heard) -> bool {
    heard.admitted_at.is_some() && heard.refused.iter().any(|reason| BREAKS_PASS.contains(&reason.as_str()))
}

fn wrong_prices(promo: &Promo, heard: &Heard, orders: &[Order]) -> u64 {
    let sold = heard.outcomes.iter().filter(|outcome| SOLD.contains(&outcome.status.as_str()));
    let told = sold.filter(|outcome| outcome.price_minor != Some(promo.price_minor)).count();
    let wrong = |order: &&Order| {
        order.price_minor != promo.price_minor
            || order.total_minor != promo.price_minor * i64::from(order.quantity)
    };
    (told + orders.iter().filter(wrong).count()) as u64
}

/// Whether the shop knows other orders than the shopper, or other statuses. Nobody pays or cancels in a load test.
fn contradicted(heard: &Heard, orders: &[Order]) -> bool {
    let known: HashMap<_, _> = orders.iter().map(|order| (order.id, order.status.as_str())).collect();
    let mut told: HashSet<_> = heard.accepted.iter().copied().collect();
    told.extend(heard.outcomes.iter().map(|outcome| outcome.order_id));
    let same_status = |(id, status): (_, &str)| known.get(&id).is_none_or(|known| *known == status);
    // An order without an answer may have been made: that is one fault already, and not two.
    let unheard_of = orders.iter().any(|order| !told.contains(&order.id)) && unanswered(heard) == 0;
    unheard_of
        || told.iter().any(|order| !known.contains_key(order))
        || !heard.outcomes.iter().all(|outcome| same_status((outcome.order_id, &outcome.status)))
}

/// Passes live equally long, so whoever was called later has a later end. Everybody stayed connected.
fn inversions(shoppers: &[Heard]) -> u64 {
    let mut passes: Vec<_> =
        shoppers.iter().filter_map(|heard| Some((heard.number?, heard.pass_ends_ms?))).collect();
    passes.sort_unstable();
    let mut latest = i64::MIN;
    let mut inverted = 0;
    for (_, ends) in &passes {
        inverted += u64::from(*ends < latest);
        latest = latest.max(*ends);
    }
    let numbers: HashSet<_> = passes.iter().map(|(number, _)| number).collect();
    let shared = (passes.len() - numbers.len()) as u64;
    inverted + shared + shoppers.iter().filter(|heard| heard.renumbered).count() as u64
}

/// Recomputes the draw from the seed.
fn wrong_draw(books: &Books, shoppers: &[Heard]) -> u64 {
    let lobby: Vec<_> = shoppers.iter().filter(|heard| heard.in_lobby && heard.number.is_some()).collect();
    if lobby.is_empty() {
        return 0;
    }
    let Some(seed) = books.promo.seed.as_deref().and_then(|seed| hex::decode(seed).ok()) else {
        return lobby.len() as u64;
    };
    let sealed = hex::encode(Sha256::digest(&seed)) == books.promo.seed_commit;
    let mut drawn: Vec<_> =
        lobby.iter().map(|heard| (draw_key(&seed, books.promo.id, heard.user_id), heard.number)).collect();
    drawn.sort_unstable();
    let misplaced = drawn
        .iter()
        .zip(1_u64..)
        .filter(|((key, number), rank)| *number != Some(*rank) || books.draw.get(rank) != Some(key));
    misplaced.count() as u64 + u64::from(!sealed) + (books.draw.len().abs_diff(lobby.len())) as u64
}

/// The 52 most significant bits of HMAC-SHA256(seed, `"{promo_id}:{user_id}"`), as 13 hex digits.
fn draw_key(seed: &[u8], promo: i64, user: i64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(seed).expect("any key length will do");
    mac.update(format!("{promo}:{user}").as_bytes());
    let mut digits = hex::encode(mac.finalize().into_bytes());
    digits.truncate(13);
    digits
}

#[cfg(test)]
mod tests;
