//! A rolling restart of everything under load.

use super::{
    crowd::{Crowd, check, enrol},
    fleet::Fleet,
};
use crate::support::{
    home::Home,
    shop::{Sale, Shop},
};

const UNITS: u32 = 60;

/// Every gateway and every writer is replaced while people buy. No place and no order is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_deploy_during_a_sale_loses_no_place_and_no_order() {
    let mut fleet =
        Fleet::start(Home::new(), &["--reconnect-spread-ms", "200", "--drain-timeout-ms", "4000"]);
    // Slow enough to last longer than the deploy.
    let sale = Sale { stock: UNITS, rate_per_s: 6, ..Sale::default() };
    let promo = Shop::admin(fleet.address()).await.publish(&sale).await;
    let tokens = enrol(fleet.address(), UNITS as usize + 10).await;
    let crowd = Crowd::send(&tokens, &fleet.addresses(), promo);
    crowd.until_bought(5).await;
    for nth in 0..2 {
        fleet.replace_gateway(nth).await;
        fleet.replace_writer(nth).await;
    }
    crowd.is_alive().await;
    crowd.until_bought(UNITS as usize).await;
    let stories = crowd.stories().await;
    let moved: Vec<_> = stories.iter().filter(|story| story.numbers.len() > 1).collect();
    assert!(moved.is_empty(), "a place was lost: {moved:?}");
    check(&stories, &tokens, fleet.address(), promo, UNITS as usize).await;
}
