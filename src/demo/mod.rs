//! `panicbuy demo`: a shop with a sale that opens in a moment, and a crowd that wants it.
//!
//! [`shop`] fills the shelves, [`shopper`] is one simulated shopper. The crowd uses the real socket like anybody else; only its
//! accounts and its payments take a short cut, because three hundred people do not register in a second.

pub mod shop;
pub mod shopper;

use std::{net::SocketAddr, sync::Arc};

use tokio::task::JoinSet;

use crate::{
    app::Services,
    clock,
    config::DemoSettings,
    domain::{PromoId, Timestamp},
    random,
    service::user::{DisplayName, Email},
};

use shopper::{Shopper, Temper};

/// How many come, what for, and when.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    pub shoppers: u32,
    pub stock: u32,
    pub opens_in_s: u64,
}

impl Crowd {
    pub fn of(settings: &DemoSettings) -> Self {
        Self { shoppers: settings.shoppers, stock: settings.stock, opens_in_s: settings.opens_in }
    }
}

/// The simulated shoppers of one sale, ready to go.
pub struct Shoppers {
    shoppers: Vec<Shopper>,
    arrivals_ms: u64,
}

/// Fills the shelves, publishes the sale, enrols the crowd, and says where to look.
pub async fn open_shop(services: &Services, crowd: &Crowd, address: SocketAddr) -> anyhow::Result<Shoppers> {
    let starts_at = clock::now().plus_millis(crowd.opens_in_s * 1000);
    let promo = shop::stock_shelves(services, crowd, starts_at).await?;
    let shoppers = enrol(services, crowd.shoppers, promo, address).await?;
    println!("The sale opens in {} s at http://{address}/#/promo/{promo}", crowd.opens_in_s);
    println!(
        "{} simulated shoppers want {} units. Register, join, and try your luck.",
        crowd.shoppers, crowd.stock
    );
    Ok(Shoppers { shoppers, arrivals_ms: time_to_arrive(crowd, starts_at) })
}

/// The crowd arrives before the opening, all but a few late-comers.
fn time_to_arrive(crowd: &Crowd, starts_at: Timestamp) -> u64 {
    starts_at.since(clock::now()).max(1000) + u64::from(crowd.shoppers) * 10
}

async fn enrol(
    services: &Services,
    count: u32,
    promo: PromoId,
    address: SocketAddr,
) -> anyhow::Result<Vec<Shopper>> {
    let run = hex::encode(random::bytes::<4>());
    let mut shoppers = Vec::new();
    for number in 1..=count {
        let email = format!("shopper-{number}.{run}@demo.invalid");
        let name = format!("Shopper {number}");
        let (email, name) = (Email::parse(&email)?, DisplayName::parse(&name)?);
        let session = services.users.enrol_without_password(email, name, clock::now()).await?;
        let orders = Arc::clone(&services.orders);
        shoppers.push(Shopper { address, session, promo, temper: Temper::random(), orders });
    }
    Ok(shoppers)
}

impl Shoppers {
    /// Lets the crowd loose. Never completes.
    pub async fn run(self) {
        let mut crowd = JoinSet::new();
        for shopper in self.shoppers {
            let arrives_in = random::below(self.arrivals_ms);
            crowd.spawn(async move { shopper.shop(arrives_in).await });
        }
        while crowd.join_next().await.is_some() {}
        std::future::pending::<()>().await;
    }
}
