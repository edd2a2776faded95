//! Processes that die in the middle of a sale.

use super::{
    crowd::{Crowd, check, enrol},
    fleet::Fleet,
};
use crate::support::{
    home::Home,
    shop::{Sale, Shop},
};

const UNITS: usize = 12;

/// A gateway or a writer dies at this point, the `after`-th time it comes there; the others carry on.
async fn one_dies_at(point: &str, after: u32) {
    let mut fleet = Fleet::start(Home::new(), &["--relay-after-ms", "300"]);
    let failpoints = format!("{point}={after}*off->return");
    let doomed = if point.starts_with("order.") {
        // It answers in place of the first gateway, so that shoppers come to it.
        let doomed = fleet.gateway(&failpoints);
        let address = doomed.address;
        fleet.addresses().write().unwrap()[0] = address;
        doomed
    } else {
        // It reads alone, so that the records come to it.
        fleet.writers.clear();
        fleet.writer(&failpoints)
    };
    let promo =
        Shop::admin(fleet.gateways[1].address).await.publish(&Sale { stock: 12, ..Sale::default() }).await;
    let tokens = enrol(fleet.gateways[1].address, UNITS + 4).await;
    let crowd = Crowd::send(&tokens, &fleet.addresses(), promo);
    assert!(!doomed.died().await.success(), "the process died at {point}");
    fleet.note_addresses();
    if fleet.writers.is_empty() {
        fleet.writers.push(fleet.writer(""));
    }
    crowd.until_bought(UNITS).await;
    let stories = crowd.stories().await;
    check(&stories, &tokens, fleet.gateways[1].address, promo, UNITS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_dies_between_reserve_and_append() {
    one_dies_at("order.reserved", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_dies_between_append_and_answer() {
    one_dies_at("order.appended", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_dies_between_commit_and_settle() {
    one_dies_at("writer.committed", 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_dies_between_settle_and_offset_commit() {
    one_dies_at("writer.settled", 0).await;
}
