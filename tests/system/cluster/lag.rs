//! A log that the writers do not keep up with holds the door.

use panicbuy::domain::Phase;
use reqwest::Method;

use super::{crowd::enrol, fleet::Fleet};
use crate::support::{
    client::Client,
    eventually,
    home::Home,
    shop::{Sale, Shop},
};

/// As many orders as may wait in the log.
const MAX_LAG: usize = 3;

/// Both gateways know that so many orders wait in the log.
async fn until_lag_is_known(fleet: &Fleet, lag: usize) {
    let line = format!("panicbuy_log_lag_records {lag}");
    for gateway in &fleet.gateways {
        eventually("the lag to be known", || async {
            let metrics = Shop::visitor(gateway.address).text("/metrics").await;
            metrics.lines().any(|found| found == line).then_some(())
        })
        .await;
    }
}

/// Without a writer orders wait in the log. From the bound on nobody is called, though there are units, until a writer comes.
/// Time goes on meanwhile: a pass that nobody uses runs out.
#[tokio::test(flavor = "multi_thread")]
async fn a_lag_holds_the_door() {
    let mut fleet = Fleet::start(Home::new(), &["--max-log-lag", "3"]);
    fleet.writers.clear();
    let sale = Sale { stock: 10, pass_ttl_ms: 8_000, ..Sale::default() };
    let promo = Shop::admin(fleet.address()).await.publish(&sale).await;
    let tokens = enrol(fleet.address(), MAX_LAG + 2).await;
    let mut called = Vec::new();
    for (nth, token) in tokens.iter().enumerate().take(MAX_LAG + 1) {
        let (mut client, _) = Client::join(fleet.gateways[nth % 2].address, token, promo).await;
        client.state(|state| state.phase == Phase::Admitted).await;
        client.forget();
        called.push(client);
    }
    let mut idle = called.pop().unwrap();
    let mut orders = Vec::new();
    for client in &mut called {
        let request = client.order(promo).await;
        orders.push(client.accepted(request).await);
    }
    until_lag_is_known(&fleet, MAX_LAG).await;

    let (mut next, joined) = Client::join(fleet.address(), &tokens[MAX_LAG + 1], promo).await;
    assert_eq!((joined.phase, joined.ahead), (Phase::Queued, Some(0)), "the next in line");
    idle.state(|state| state.phase == Phase::None).await;
    let audit = Shop::admin(fleet.address()).await;
    let audit = audit.call(Method::GET, &format!("/api/v1/promos/{promo}/audit"), None).await.1;
    assert_eq!(
        (&audit["holds"], &audit["available"]),
        (&0.into(), &7.into()),
        "room for all, and no pass: {audit}"
    );
    let (_, welcome) = Client::hello(fleet.address(), Some(&tokens[MAX_LAG + 1])).await;
    assert_eq!(welcome.states[0].phase, Phase::Queued, "ticks took a pass back, and gave none");

    fleet.writers.push(fleet.writer(""));
    for (client, order) in called.iter_mut().zip(orders) {
        client.outcome(order).await;
    }
    next.state(|state| state.phase == Phase::Admitted).await;
    until_lag_is_known(&fleet, 0).await;
}
