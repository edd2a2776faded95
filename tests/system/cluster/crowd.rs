//! Shoppers who keep trying, as a good client does: whichever gateway answers, always under the same request.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use futures_util::future::join_all;
use panicbuy::{
    domain::{OrderId, Phase, PromoId, Reason, RequestId},
    gateway::protocol::{ClientFrame, ServerFrame},
    random,
};
use reqwest::Method;
use tokio::task::JoinHandle;

use super::fleet::Addresses;
use crate::support::{client::Client, eventually, eventually_within, shop::Shop};

/// How long a shopper waits for an answer before they ask again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// A sale with trouble in it takes no longer than this.
const A_SALE: Duration = Duration::from_mins(1);

/// What one shopper went through.
#[derive(Debug, Default)]
pub struct Story {
    pub accepted: BTreeSet<OrderId>,
    /// Outcomes by order, counted over connections that were open from "accepted" on.
    pub outcomes: BTreeMap<OrderId, u32>,
    /// Every number this shopper was shown.
    pub numbers: BTreeSet<u64>,
    /// Whether they were told "sold out" while they held a pass.
    pub cheated: bool,
    /// Orders whose outcome was not told on the connection that heard "accepted" and stayed open.
    pub stranded: BTreeSet<OrderId>,
    pub bought: Option<OrderId>,
    /// Why orders were refused.
    pub refused: BTreeSet<&'static str>,
}

/// Registers shoppers at a gateway; returns their tokens.
pub async fn enrol(address: SocketAddr, count: usize) -> Vec<String> {
    let visitor = Shop::visitor(address);
    let mut tokens = Vec::new();
    for _ in 0..count {
        let shop = visitor.register(&format!("{}@shop.example", random::uuid())).await;
        tokens.push(shop.token.unwrap());
    }
    tokens
}

/// Shoppers at work. They stop when they have bought, or when they are called off.
pub struct Crowd {
    shoppers: Vec<JoinHandle<()>>,
    stories: Vec<tokio::sync::watch::Receiver<u32>>,
    told: std::sync::Arc<std::sync::Mutex<Vec<Story>>>,
}

impl Crowd {
    /// Sends everybody off to buy one unit each.
    pub fn send(tokens: &[String], addresses: &Addresses, promo: PromoId) -> Self {
        let told = std::sync::Arc::new(std::sync::Mutex::new(
            tokens.iter().map(|_| Story::default()).collect::<Vec<_>>(),
        ));
        let mut stories = Vec::new();
        let mut shoppers = Vec::new();
        for (nth, token) in tokens.iter().enumerate() {
            let (moved, watch) = tokio::sync::watch::channel(0);
            stories.push(watch);
            let mut shopper = Shopper {
                nth,
                token: token.clone(),
                request: RequestId(random::uuid()),
                promo,
                addresses: std::sync::Arc::clone(addresses),
                told: std::sync::Arc::clone(&told),
                moved,
            };
            shoppers.push(tokio::spawn(async move { shopper.shop().await }));
        }
        Self { shoppers, stories, told }
    }

    /// How many have bought.
    pub fn bought(&self) -> usize {
        self.told.lock().unwrap().iter().filter(|story| story.bought.is_some()).count()
    }

    /// Waits until so many have bought.
    pub async fn until_bought(&self, count: usize) {
        let enough = || async { (self.bought() >= count).then_some(()) };
        eventually_within(A_SALE, &format!("{count} to have bought"), enough).await;
    }

    /// Waits until somebody has moved on, if anybody does soon.
    pub async fn is_alive(&self) -> bool {
        let moves: u32 = self.stories.iter().map(|story| *story.borrow()).sum();
        eventually("a shopper to move", || async {
            (self.stories.iter().map(|story| *story.borrow()).sum::<u32>() != moves).then_some(true)
        })
        .await
    }

    /// Calls everybody off; returns what they went through.
    pub async fn stories(self) -> Vec<Story> {
        self.shoppers.iter().for_each(JoinHandle::abort);
        join_all(self.shoppers).await;
        std::mem::take(&mut self.told.lock().unwrap())
    }
}

struct Shopper {
    nth: usize,
    token: String,
    request: RequestId,
    promo: PromoId,
    addresses: Addresses,
    told: std::sync::Arc<std::sync::Mutex<Vec<Story>>>,
    moved: tokio::sync::watch::Sender<u32>,
}

impl Shopper {
    fn note(&self, note: impl FnOnce(&mut Story)) {
        note(&mut self.told.lock().unwrap()[self.nth]);
        self.moved.send_modify(|moves| *moves += 1);
    }

    async fn shop(&mut self) {
        for attempt in self.nth.. {
            let address = {
                let addresses = self.addresses.read().unwrap();
                addresses[attempt % addresses.len()]
            };
            if let Some(client) = Client::may_connect(address).await
                && self.visit(client).await.is_some()
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// One connection. `Some`: the shopper has bought. `None`: the connection is gone.
    async fn visit(&self, mut client: Client) -> Option<()> {
        client.try_say(&ClientFrame::Hello { token: Some(self.token.clone()) }).await?;
        client.try_say(&ClientFrame::Join { promo_id: self.promo }).await?;
        let mut here = Here::default();
        loop {
            let Ok(frame) = tokio::time::timeout(ASK_AGAIN, client.next()).await else {
                self.ask_again(&mut client, &here).await?;
                continue;
            };
            match frame.ok()? {
                ServerFrame::Welcome(welcome) => {
                    let mine = welcome.states.into_iter().find(|state| state.promo_id == self.promo);
                    if let Some(state) = mine
                        && state.phase == Phase::Confirmed
                    {
                        self.note(|story| story.bought = state.order_id);
                        return Some(());
                    }
                }
                ServerFrame::State(state) if state.promo_id == self.promo => {
                    here.phase = Some(state.phase);
                    self.note(|story| story.numbers.extend(state.number));
                    match state.phase {
                        Phase::Admitted => client.try_order(self.promo, self.request).await?,
                        Phase::None => client.try_say(&ClientFrame::Join { promo_id: self.promo }).await?,
                        _ => {}
                    }
                }
                ServerFrame::Accepted { order_id, .. } => {
                    here.accepted = Some(order_id);
                    self.note(|story| {
                        story.accepted.insert(order_id);
                        story.stranded.insert(order_id);
                    });
                }
                ServerFrame::Refused { reason, .. } => self.refused(&mut client, &here, reason).await?,
                ServerFrame::Outcome(outcome) => {
                    self.note(|story| {
                        story.stranded.remove(&outcome.order_id);
                        if here.accepted == Some(outcome.order_id) {
                            *story.outcomes.entry(outcome.order_id).or_default() += 1;
                        }
                        story.bought = outcome.price_minor.is_some().then_some(outcome.order_id);
                    });
                    // A second outcome would come soon.
                    return self.linger(&mut client).await;
                }
                _ => {}
            }
        }
    }

    /// Reads on for a moment, to notice what must not come.
    async fn linger(&self, client: &mut Client) -> Option<()> {
        let until = tokio::time::Instant::now() + Duration::from_millis(500);
        while let Ok(Ok(frame)) = tokio::time::timeout_at(until, client.next()).await {
            if let ServerFrame::Outcome(outcome) = frame {
                self.note(|story| *story.outcomes.entry(outcome.order_id).or_default() += 1);
            }
        }
        Some(())
    }

    async fn refused(&self, client: &mut Client, here: &Here, reason: Reason) -> Option<()> {
        self.note(|story| _ = story.refused.insert(reason.as_str()));
        match reason {
            Reason::SoldOut => self.note(|story| story.cheated |= here.phase == Some(Phase::Admitted)),
            Reason::NoPass => client.try_say(&ClientFrame::Join { promo_id: self.promo }).await?,
            _ => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                client.try_order(self.promo, self.request).await?;
            }
        }
        Some(())
    }

    /// Nothing came for a while: asks again for what is wanted.
    async fn ask_again(&self, client: &mut Client, here: &Here) -> Option<()> {
        match here.phase {
            Some(Phase::Admitted | Phase::Pending) => client.try_order(self.promo, self.request).await,
            _ => client.try_say(&ClientFrame::Join { promo_id: self.promo }).await,
        }
    }
}

/// What this connection has shown.
#[derive(Default)]
struct Here {
    phase: Option<Phase>,
    accepted: Option<OrderId>,
}

/// Holds the stories against the promises, and the shop's books against both.
pub async fn check(stories: &[Story], tokens: &[String], address: SocketAddr, promo: PromoId, units: usize) {
    let admin = Shop::admin(address).await;
    let audit = eventually("the books to agree", || async {
        let (_, audit) = admin.call(Method::GET, &format!("/api/v1/promos/{promo}/audit"), None).await;
        Some(audit).filter(|audit| audit["ok"] == true && audit["pending"] == 0)
    })
    .await;
    assert_eq!(audit["sold"], units, "everything is sold: {audit}");
    assert_eq!((&audit["available"], &audit["database"]["sold"]), (&0.into(), &units.into()), "{audit}");
    let mut sold = BTreeSet::new();
    for (story, token) in stories.iter().zip(tokens) {
        assert!(!story.cheated, "a pass holder was told sold out: {story:?}");
        assert!(story.outcomes.values().all(|times| *times == 1), "one outcome each: {story:?}");
        let list = admin.with_token(token).get("/api/v1/orders").await;
        let orders = list["data"].as_array().unwrap();
        for accepted in &story.accepted {
            let found = orders.iter().find(|order| order["order_id"] == accepted.to_string());
            let status = found.map(|order| order["status"].clone());
            assert!(
                status.is_some_and(|status| status != "pending"),
                "accepted, never settled: {story:?} {list}"
            );
        }
        let live = orders.iter().filter(|order| order["status"] == "awaiting_payment");
        let live: Vec<_> = live.map(|order| order["order_id"].to_string()).collect();
        assert!(live.len() <= 1, "nobody bought twice: {list}");
        sold.extend(live);
    }
    assert_eq!(sold.len(), units, "sold to different people, once each");
}
