//! What every engine of the store promises, as functions over the ports. An engine's tests open two stores on one
//! database and hand them to each function; `one` and `two` stand for two processes.

use std::slice;

use uuid::Uuid;

pub(super) use super::port::Store;
use super::port::{PoolRow, Written};
use crate::{
    domain::{
        Admission, Epoch, Item, ItemId, NewItem, NewPromo, NewUser, Order, PoolId, Price, Promo, Reason,
        RequestId, Role, Seed, Timestamp, UserId, Verdict,
    },
    random,
    reservation::port::Reservation,
};

pub(super) mod batches;
pub(super) mod closings;
pub(super) mod epochs;
pub(super) mod shop;

/// Declares one test for every promise. `$open` gives a fixture with two stores, `one` and `two`, on a fresh database.
macro_rules! conformance {
    ($open:path) => {
        $crate::store::conformance::conformance!(@ $open,
            shop: users_are_found_by_id_and_by_address,
            shop: an_address_is_taken_once,
            shop: many_users_are_created_together_or_not_at_all,
            shop: items_come_with_their_stock_and_in_pages,
            shop: an_edit_changes_only_what_it_names,
            shop: stock_stays_between_sold_and_the_maximum,
            shop: drafts_keep_everything_and_are_shown_on_request,
            shop: publishing_moves_the_stock,
            shop: publishing_refuses_and_changes_nothing,
            shop: stages_change_only_from_where_they_may,
            shop: unsold_units_return_to_the_item,
            batches: posted_and_rejected_orders_are_kept,
            batches: a_batch_delivered_again_gets_the_same_answers,
            batches: a_closed_order_keeps_its_verdict,
            batches: the_same_order_twice_in_a_batch_is_one_row,
            batches: another_order_under_the_same_request_is_impossible,
            batches: what_can_never_become_a_row_is_impossible_and_stops_nobody,
            batches: the_limit_counts_live_orders,
            batches: two_writers_never_oversell,
            batches: two_writers_of_the_same_batch_sell_it_once,
            batches: opening_orders_are_what_a_ledger_must_know,
            closings: payment_inside_the_window_is_for_good,
            closings: payment_after_the_window_fails_before_the_sweep_and_after,
            closings: cancelling_returns_the_units_once,
            closings: expiry_takes_the_due_and_no_more_than_asked,
            closings: an_order_is_closed_once_whoever_comes_first,
            closings: orders_are_their_shoppers_own_and_newest_first,
            closings: an_ended_promo_is_settled_once_nothing_is_unpaid,
            closings: the_outbox_forgets_what_is_done,
            epochs: an_epoch_begins_once,
            epochs: a_new_epoch_knows_what_is_written_and_voids_what_comes_late,
            epochs: an_order_is_in_the_opening_or_void,
            epochs: a_lease_is_one_holder_s_until_it_runs_out,
        );
    };
    (@ $open:path, $($group:ident: $promise:ident,)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let fixture = $open().await;
                $crate::store::conformance::$group::$promise(&fixture.one, &fixture.two).await;
            }
        )*
    };
}
pub(super) use conformance;

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_795_341_600_000);
pub(super) const WINDOW: u64 = 60_000;
const SOLD_OUT: Written = Written::Verdict(Verdict::Void { reason: Reason::SoldOut });
const LIMIT_REACHED: Written = Written::Verdict(Verdict::Void { reason: Reason::LimitReached });

/// The answer to an order that was posted at [`NOW`].
pub(super) fn posted() -> Written {
    Written::Verdict(Verdict::Posted { pay_before: NOW.plus_millis(WINDOW) })
}

pub(super) fn new_user(email: &str) -> NewUser {
    NewUser {
        email: email.to_owned(),
        password_hash: "$argon2id$…".to_owned(),
        display_name: "Ann".to_owned(),
        role: Role::Shopper,
    }
}

pub(super) async fn shopper(store: &dyn Store) -> UserId {
    let email = format!("{}@example.org", random::uuid());
    store.create_user(&new_user(&email), NOW).await.unwrap().id
}

async fn item(store: &dyn Store, stock: u32) -> Item {
    let item = NewItem {
        title: "Kettle".to_owned(),
        description: "Boils.".to_owned(),
        image_url: "/kettle.webp".to_owned(),
        price: Price(4_900),
        stock,
    };
    store.create_item(&item, NOW).await.unwrap()
}

/// A promo from `starts` to `ends` milliseconds after [`NOW`].
fn new_promo(item: ItemId, stock: u32, starts: u64, ends: u64) -> NewPromo {
    NewPromo {
        item_id: item,
        title: "Kettles!".to_owned(),
        price: Price(900),
        stock,
        per_user_limit: 2,
        starts_at: NOW.plus_millis(starts),
        ends_at: NOW.plus_millis(ends),
        admission: Admission { rate_per_s: 50, max_active: 200, pass_ttl_ms: 90_000 },
        payment_window_ms: WINDOW,
        seed: Seed([7; 32]),
    }
}

async fn draft(store: &dyn Store, item: ItemId, stock: u32, starts: u64, ends: u64) -> Promo {
    store.create_promo(&new_promo(item, stock, starts, ends), NOW).await.unwrap().unwrap()
}

/// A published promo of a fresh item that has nothing else.
pub(super) async fn promo(store: &dyn Store, stock: u32) -> Promo {
    let item = item(store, stock).await;
    let draft = draft(store, item.id, stock, 0, 3_600_000).await;
    store.publish_promo(draft.id, NOW).await.unwrap()
}

fn reservation(user: UserId, pool: PoolId, item: ItemId, quantity: u32) -> Reservation {
    Reservation {
        order_id: random::order_id(),
        request_id: RequestId(random::uuid()),
        user_id: user,
        pool,
        item_id: item,
        quantity,
        price: Price(900),
        payment_window_ms: WINDOW,
        reserved_at: NOW,
        epoch: Epoch::default(),
    }
}

/// A reservation of `promo`'s units.
pub(super) fn of_promo(user: UserId, promo: &Promo, quantity: u32) -> Reservation {
    reservation(user, PoolId::Promo(promo.id), promo.item_id, quantity)
}

/// A posted order of a fresh shopper.
async fn posted_order(store: &dyn Store, promo: &Promo, quantity: u32) -> Order {
    let reservation = of_promo(shopper(store).await, promo, quantity);
    assert_eq!(store.write_batch(slice::from_ref(&reservation), NOW).await.unwrap(), [posted()]);
    store.order(reservation.user_id, reservation.order_id).await.unwrap().unwrap()
}

pub(super) async fn units(store: &dyn Store, pool: PoolId) -> (u32, u32) {
    let PoolRow { initial, sold, .. } = store.pool(pool).await.unwrap().unwrap();
    (initial, sold)
}

fn nobody() -> Uuid {
    Uuid::from_u128(1)
}
