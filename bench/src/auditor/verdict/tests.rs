//! A kept history has no fault; each way to break it is found, and found as what it is.

use std::time::Instant;

use uuid::Uuid;

use super::*;
use crate::{
    heard::{Asked, Outcome},
    shop::DatabaseAudit,
};

const PRICE: i64 = 1999;
const SEED: [u8; 32] = [7; 32];
const LOBBY: [i64; 4] = [11, 12, 13, 14];

/// A sale of two units among four shoppers of the lobby: the first two of the draw have bought.
fn kept() -> (Books, Vec<Heard>) {
    let mut drawn = LOBBY.map(|user| (draw_key(&SEED, 3, user), user));
    drawn.sort_unstable();
    let mut shoppers = Vec::new();
    let mut orders = HashMap::new();
    for ((_, user), number) in drawn.iter().zip(1_u64..) {
        let mut heard = Heard::about(*user, 3);
        heard.in_lobby = true;
        heard.number = Some(number);
        if number <= 2 {
            buy(&mut heard, number);
            orders.insert(*user, vec![order(number)]);
        }
        shoppers.push(heard);
    }
    let promo = Promo {
        id: 3,
        item_id: 1,
        price_minor: PRICE,
        stock: 2,
        seed_commit: hex::encode(Sha256::digest(SEED)),
        seed: Some(hex::encode(SEED)),
    };
    let database = DatabaseAudit { initial: 2, sold: 2 };
    let ledger = LedgerAudit { initial: 2, available: 0, pending: 0, sold: 2, ok: true, database };
    let draw = drawn.iter().zip(1..).map(|((key, _), number)| (number, key.clone())).collect();
    (Books { promo, ledger, draw, orders }, shoppers)
}

fn buy(heard: &mut Heard, number: u64) {
    let now = Instant::now();
    heard.pass_ends_ms = Some(1000 * i64::try_from(number).unwrap());
    heard.admitted_at = Some(now);
    heard.asked = Some(Asked { request_id: id(100 + number), intended: now, sent: now });
    heard.accepted = vec![id(number)];
    heard.outcomes = vec![outcome(number)];
}

fn id(number: u64) -> Uuid {
    Uuid::from_u128(u128::from(number))
}

fn outcome(number: u64) -> Outcome {
    Outcome { order_id: id(number), status: "awaiting_payment".to_owned(), price_minor: Some(PRICE) }
}

fn order(number: u64) -> Order {
    Order {
        id: id(number),
        promo_id: Some(3),
        quantity: 1,
        price_minor: PRICE,
        total_minor: PRICE,
        status: "awaiting_payment".to_owned(),
    }
}

/// The verdict on the kept history after this was done to it.
fn after(spoil: impl FnOnce(&mut Books, &mut Vec<Heard>)) -> Verdict {
    let (mut books, mut shoppers) = kept();
    spoil(&mut books, &mut shoppers);
    judge(&books, &shoppers)
}

#[test]
fn a_kept_history_has_no_fault() {
    assert_eq!(after(|_, _| {}), Verdict::default());
}

#[test]
fn the_keys_are_those_of_the_contract() {
    // printf '3:11' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0707…07 | cut -c-13
    assert_eq!(draw_key(&SEED, 3, 11), DRAWN_BY_OPENSSL);
}

const DRAWN_BY_OPENSSL: &str = "1c926cc0ce981";

#[test]
fn oversale_is_found_in_orders_ledger_and_database() {
    let by_orders = after(|books, shoppers| {
        buy(&mut shoppers[2], 3);
        books.orders.insert(shoppers[2].user_id, vec![order(3)]);
    });
    assert_eq!(by_orders.oversold, 1);
    assert_eq!(after(|books, _| books.ledger.sold = 3).oversold, 1);
    assert_eq!(after(|books, _| books.ledger.database.sold = 4).oversold, 2);
}

#[test]
fn stranded_units_are_found() {
    let pending = after(|books, _| (books.ledger.pending, books.ledger.initial) = (1, 3));
    assert_eq!(pending.stranded, 1);
    let vanished = after(|books, _| books.ledger.initial = 3);
    assert_eq!(vanished.stranded, 1);
    let unsold = after(|books, _| (books.ledger.available, books.ledger.initial) = (1, 3));
    assert_eq!(unsold.stranded, 1, "two shoppers wait for the unit that is left");
    let nobodys = after(|books, shoppers| {
        books.orders.remove(&shoppers[0].user_id);
    });
    assert_eq!(nobodys.stranded, 1);
    assert_eq!(after(|books, _| books.ledger.ok = false).stranded, 1);
}

#[test]
fn silence_is_found() {
    let no_outcome = Verdict { unanswered: 1, ..Verdict::default() };
    assert_eq!(after(|_, shoppers| shoppers[0].outcomes.clear()), no_outcome);
    let no_answer = after(|books, shoppers| {
        let asked = shoppers[0].asked;
        shoppers[3].asked = asked;
        books.orders.insert(shoppers[3].user_id, Vec::new());
    });
    assert_eq!(no_answer, Verdict { unanswered: 1, ..Verdict::default() });
}

#[test]
fn second_answers_are_found() {
    let twice = Verdict { answered_twice: 1, ..Verdict::default() };
    assert_eq!(after(|_, shoppers| shoppers[0].outcomes.push(outcome(1))), twice);
    assert_eq!(after(|_, shoppers| shoppers[0].accepted.push(id(1))), twice);
    let both = after(|_, shoppers| shoppers[0].refused.push("sold_out".to_owned()));
    assert_eq!((both.answered_twice, both.pass_refused), (1, 1));
}

#[test]
fn wrong_prices_are_found_where_they_are_told_and_where_they_are_kept() {
    assert_eq!(after(|_, shoppers| shoppers[0].outcomes[0].price_minor = Some(1)).wrong_price, 1);
    assert_eq!(after(|_, shoppers| shoppers[0].outcomes[0].price_minor = None).wrong_price, 1);
    let kept = after(|books, shoppers| {
        books.orders.get_mut(&shoppers[0].user_id).unwrap()[0].total_minor = 1;
    });
    assert_eq!(kept, Verdict { wrong_price: 1, ..Verdict::default() });
}

#[test]
fn jumped_queues_are_found() {
    let inverted = Verdict { place_inversions: 1, ..Verdict::default() };
    assert_eq!(after(|_, shoppers| shoppers[0].pass_ends_ms = Some(9000)), inverted);
    assert_eq!(after(|_, shoppers| shoppers[3].renumbered = true), inverted);
}

#[test]
fn a_steered_draw_is_found() {
    let swapped = after(|_, shoppers| {
        (shoppers[2].number, shoppers[3].number) = (shoppers[3].number, shoppers[2].number);
    });
    assert_eq!(swapped, Verdict { wrong_draw: 2, ..Verdict::default() });
    let other_seed = after(|books, _| books.promo.seed_commit = hex::encode(Sha256::digest([8; 32])));
    assert_eq!(other_seed, Verdict { wrong_draw: 1, ..Verdict::default() });
    let forged = after(|books, _| {
        books.draw.insert(1, "0000000000000".to_owned());
    });
    assert_eq!(forged, Verdict { wrong_draw: 1, ..Verdict::default() });
    let no_seed = after(|books, _| books.promo.seed = None);
    assert_eq!(no_seed, Verdict { wrong_draw: 4, ..Verdict::default() });
    let uninvited = after(|books, _| {
        books.draw.insert(5, "fffffffffffff".to_owned());
    });
    assert_eq!(uninvited, Verdict { wrong_draw: 1, ..Verdict::default() });
}

#[test]
fn books_that_differ_from_what_was_told_are_found() {
    let contradicted = Verdict { contradicted: 1, ..Verdict::default() };
    let other_status = after(|_, shoppers| {
        shoppers[0].outcomes[0].status = "rejected".to_owned();
    });
    assert_eq!(other_status, contradicted);
    let other_order = after(|books, shoppers| {
        books.orders.insert(shoppers[0].user_id, vec![order(99)]);
    });
    assert_eq!(other_order, contradicted);
}

#[test]
fn refused_pass_holders_and_lost_sockets_are_found() {
    let refused = after(|books, shoppers| {
        let heard = &mut shoppers[1];
        books.orders.remove(&heard.user_id);
        (books.ledger.sold, books.ledger.database.sold, books.ledger.initial) = (1, 1, 1);
        heard.accepted.clear();
        heard.outcomes.clear();
        heard.refused = vec!["sold_out".to_owned()];
    });
    assert_eq!(refused, Verdict { pass_refused: 1, ..Verdict::default() });
    let lost = after(|_, shoppers| shoppers[0].lost = Some("reset".to_owned()));
    assert_eq!(lost, Verdict { lost_sockets: 1, ..Verdict::default() });
}
