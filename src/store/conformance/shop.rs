//! Users, items and promos.

use std::slice;

use super::{NOW, Store, draft, item, new_promo, new_user, of_promo, promo, shopper, units};
use crate::{
    domain::{Admission, ItemId, ItemPatch, PoolId, Price, PromoId, PromoStage, Role, UserId},
    store::port::{CreateUserError, MAX_STOCK, MAX_USERS_AT_ONCE, StageError, StockError},
};

pub(crate) async fn users_are_found_by_id_and_by_address(one: &dyn Store, two: &dyn Store) {
    let mut new = new_user("ann@example.org");
    new.role = Role::Admin;
    let ann = one.create_user(&new, NOW).await.unwrap();
    assert_eq!(two.user(ann.id).await.unwrap(), Some(ann.clone()));
    let (found, hash) = two.user_by_email("ann@example.org").await.unwrap().unwrap();
    assert_eq!((&found, hash), (&ann, new.password_hash));

    let renamed = one.rename_user(ann.id, "Anna").await.unwrap().unwrap();
    assert_eq!((renamed.display_name.as_str(), renamed.email), ("Anna", ann.email));
    assert_eq!(one.rename_user(UserId(999), "Nobody").await.unwrap(), None);
    assert_eq!(one.user(UserId(999)).await.unwrap(), None);
    assert_eq!(one.user_by_email("bob@example.org").await.unwrap(), None);
}

pub(crate) async fn an_address_is_taken_once(one: &dyn Store, two: &dyn Store) {
    let new = new_user("ann@example.org");
    let (first, second) = tokio::join!(one.create_user(&new, NOW), two.create_user(&new, NOW));
    let taken = [first, second].into_iter().filter(|made| matches!(made, Err(CreateUserError::EmailTaken)));
    assert_eq!(taken.count(), 1);
}

pub(crate) async fn many_users_are_created_together_or_not_at_all(one: &dyn Store, two: &dyn Store) {
    let new: Vec<_> = (0..MAX_USERS_AT_ONCE).map(|nth| new_user(&format!("{nth}@crowd.invalid"))).collect();
    let created = one.create_users(&new, NOW).await.unwrap();
    assert_eq!(created.len(), new.len());
    assert!(created.is_sorted_by(|one, next| one.id < next.id));
    let last = created.last().unwrap();
    assert_eq!(two.user(last.id).await.unwrap().as_ref(), Some(last));

    let again = [new_user("fresh@crowd.invalid"), new[7].clone()];
    assert!(matches!(two.create_users(&again, NOW).await, Err(CreateUserError::EmailTaken)));
    assert_eq!(one.user_by_email("fresh@crowd.invalid").await.unwrap(), None);
    assert_eq!(one.create_users(&[], NOW).await.unwrap(), []);
}

pub(crate) async fn items_come_with_their_stock_and_in_pages(one: &dyn Store, _: &dyn Store) {
    let (first, second, third) = (item(one, 5).await, item(one, 0).await, item(one, 7).await);
    assert_eq!(one.item(first.id).await.unwrap().as_ref(), Some(&first));
    assert_eq!(one.item(ItemId(999)).await.unwrap(), None);
    assert_eq!(one.items(None, 2).await.unwrap(), [first, second.clone()]);
    assert_eq!(one.items(Some(second.id), 2).await.unwrap(), slice::from_ref(&third));
    assert_eq!(one.items(Some(third.id), 2).await.unwrap(), []);
}

pub(crate) async fn an_edit_changes_only_what_it_names(one: &dyn Store, _: &dyn Store) {
    let kettle = item(one, 5).await;
    let patch = ItemPatch { price: Some(Price(1)), description: Some(String::new()), ..ItemPatch::default() };
    let edited = one.update_item(kettle.id, &patch).await.unwrap().unwrap();
    assert_eq!((edited.price, edited.description.as_str()), (Price(1), ""));
    assert_eq!((&edited.title, &edited.image_url, edited.stock), (&kettle.title, &kettle.image_url, 5));
    assert_eq!(one.item(kettle.id).await.unwrap(), Some(edited));
    assert_eq!(one.update_item(ItemId(999), &patch).await.unwrap(), None);
}

pub(crate) async fn stock_stays_between_sold_and_the_maximum(one: &dyn Store, _: &dyn Store) {
    let kettle = item(one, 5).await;
    let order = super::reservation(shopper(one).await, PoolId::Item(kettle.id), kettle.id, 2);
    one.write_batch(&[order], NOW).await.unwrap();
    assert_eq!(one.item(kettle.id).await.unwrap().unwrap().stock, 3);
    assert!(matches!(one.restock(kettle.id, -4).await, Err(StockError::OutOfRange)));
    assert_eq!(one.restock(kettle.id, -3).await.unwrap().stock, 0);
    assert_eq!(one.restock(kettle.id, 10).await.unwrap().stock, 10);
    let room = i32::try_from(MAX_STOCK - 12).unwrap();
    assert!(matches!(one.restock(kettle.id, room + 1).await, Err(StockError::OutOfRange)));
    assert_eq!(one.restock(kettle.id, room).await.unwrap().stock, MAX_STOCK - 2);
    assert!(matches!(one.restock(ItemId(999), 1).await, Err(StockError::NotFound)));
}

pub(crate) async fn drafts_keep_everything_and_are_shown_on_request(one: &dyn Store, _: &dyn Store) {
    let kettle = item(one, 9).await;
    let new = new_promo(kettle.id, 4, 10, 20);
    let made = one.create_promo(&new, NOW).await.unwrap().unwrap();
    assert_eq!((made.stage, made.stock, made.created_at), (PromoStage::Draft, 4, NOW));
    assert_eq!((made.starts_at, made.ends_at, made.seed), (new.starts_at, new.ends_at, new.seed));
    assert_eq!((made.admission, made.payment_window_ms), (new.admission, new.payment_window_ms));
    assert_eq!((made.price, made.per_user_limit, &made.title), (new.price, 2, &new.title));
    assert_eq!(one.promo(made.id).await.unwrap(), Some(made.clone()));
    assert_eq!(one.create_promo(&new_promo(ItemId(999), 4, 10, 20), NOW).await.unwrap(), None);
    assert_eq!(one.item(kettle.id).await.unwrap().unwrap().stock, 9);

    let live = promo(one, 3).await;
    assert_eq!(one.promos(None, 10, false).await.unwrap(), slice::from_ref(&live));
    assert_eq!(one.promos(None, 10, true).await.unwrap(), [made.clone(), live.clone()]);
    assert_eq!(one.promos(None, 1, true).await.unwrap(), slice::from_ref(&made));
    assert_eq!(one.promos(Some(made.id), 10, true).await.unwrap(), slice::from_ref(&live));
    assert_eq!(one.live_promos().await.unwrap(), slice::from_ref(&live));

    let admission = Admission { rate_per_s: 1, max_active: 2, pass_ttl_ms: 3 };
    assert_eq!(one.set_admission(live.id, admission).await.unwrap().unwrap().admission, admission);
    assert_eq!(one.promo(live.id).await.unwrap().unwrap().admission, admission);
    assert_eq!(one.set_admission(PromoId(999), admission).await.unwrap(), None);
}

pub(crate) async fn publishing_moves_the_stock(one: &dyn Store, two: &dyn Store) {
    let kettle = item(one, 10).await;
    let made = draft(one, kettle.id, 4, 0, 10).await;
    let (first, second) = tokio::join!(one.publish_promo(made.id, NOW), two.publish_promo(made.id, NOW));
    let (published, refused) = if first.is_ok() { (first, second) } else { (second, first) };
    assert_eq!(published.unwrap().stage, PromoStage::Published);
    assert!(matches!(refused, Err(StageError::WrongStage(PromoStage::Published))));
    assert_eq!(units(one, PoolId::Item(kettle.id)).await, (6, 0));
    assert_eq!(units(one, PoolId::Promo(made.id)).await, (4, 0));
    assert_eq!(one.pools().await.unwrap().len(), 2);
}

pub(crate) async fn publishing_refuses_and_changes_nothing(one: &dyn Store, _: &dyn Store) {
    let kettle = item(one, 10).await;
    let first = draft(one, kettle.id, 4, 10, 20).await;
    one.publish_promo(first.id, NOW).await.unwrap();
    one.set_stage(first.id, &[PromoStage::Published], PromoStage::Paused).await.unwrap();

    let overlapping = draft(one, kettle.id, 1, 19, 30).await;
    let around = draft(one, kettle.id, 1, 5, 30).await;
    for promo in [&overlapping, &around] {
        let refused = one.publish_promo(promo.id, NOW).await;
        assert!(matches!(refused, Err(StageError::Overlaps(other)) if other == first.id));
    }
    let greedy = draft(one, kettle.id, 7, 20, 30).await;
    assert!(matches!(one.publish_promo(greedy.id, NOW).await, Err(StageError::NotEnoughStock)));
    let late = one.publish_promo(greedy.id, greedy.ends_at).await;
    assert!(matches!(late, Err(StageError::WrongStage(PromoStage::Ended))));
    assert!(matches!(one.publish_promo(PromoId(999), NOW).await, Err(StageError::NotFound)));
    assert_eq!(units(one, PoolId::Item(kettle.id)).await, (6, 0));
    assert_eq!(one.pool(PoolId::Promo(greedy.id)).await.unwrap(), None);

    let (before, after) = (draft(one, kettle.id, 3, 0, 10).await, draft(one, kettle.id, 3, 20, 30).await);
    one.publish_promo(before.id, NOW).await.unwrap();
    one.publish_promo(after.id, NOW).await.unwrap();
    assert_eq!(units(one, PoolId::Item(kettle.id)).await, (0, 0));
}

pub(crate) async fn stages_change_only_from_where_they_may(one: &dyn Store, _: &dyn Store) {
    use PromoStage::{Draft, Ended, Paused, Published};
    let live = promo(one, 1).await;
    let paused = one.set_stage(live.id, &[Published], Paused).await.unwrap();
    assert_eq!(one.promo(live.id).await.unwrap(), Some(paused.clone()));
    assert_eq!(one.set_stage(live.id, &[Published], Paused).await.unwrap(), paused);
    assert_eq!(one.live_promos().await.unwrap(), [paused]);
    one.set_stage(live.id, &[Published, Paused], Ended).await.unwrap();
    let refused = one.set_stage(live.id, &[Draft, Paused], Published).await;
    assert!(matches!(refused, Err(StageError::WrongStage(Ended))));
    assert_eq!(one.live_promos().await.unwrap(), []);
    assert!(matches!(one.set_stage(PromoId(999), &[Draft], Ended).await, Err(StageError::NotFound)));
}

pub(crate) async fn unsold_units_return_to_the_item(one: &dyn Store, _: &dyn Store) {
    let live = promo(one, 5).await;
    one.write_batch(&[of_promo(shopper(one).await, &live, 2)], NOW).await.unwrap();
    assert_eq!(one.return_stock(live.id, 1).await.unwrap(), 1);
    assert_eq!(one.return_stock(live.id, 9).await.unwrap(), 2);
    assert_eq!(one.return_stock(live.id, 9).await.unwrap(), 0);
    assert_eq!(units(one, PoolId::Promo(live.id)).await, (2, 2));
    assert_eq!(units(one, PoolId::Item(live.item_id)).await, (3, 0));
    let unpublished = draft(one, live.item_id, 1, 0, 1).await;
    assert_eq!(one.return_stock(unpublished.id, 9).await.unwrap(), 0);
    assert_eq!(one.return_stock(PromoId(999), 9).await.unwrap(), 0);
}
