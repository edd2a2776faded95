//! A subscription that dies in silence: the connection stands, and nothing comes through it any more.

use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
};

use super::*;
use crate::redis::testing::{OwnRedis, quick};

/// A way to the server that can swallow what comes back to subscribers.
#[derive(Clone, Default)]
struct Swallower {
    /// Connections that subscribed before this generation hear nothing any more.
    deaf_before: Arc<AtomicU64>,
    subscriptions: Arc<AtomicU32>,
}

impl Swallower {
    async fn listen(self, server: u16) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                let subscribed_at = Arc::new(AtomicU64::new(u64::MAX));
                tokio::spawn(self.clone().forward(from_client, to_server, Arc::clone(&subscribed_at)));
                tokio::spawn(self.clone().back(from_server, to_client, subscribed_at));
            }
        });
        port
    }

    async fn forward(
        self,
        mut from: tcp::OwnedReadHalf,
        mut to: tcp::OwnedWriteHalf,
        subscribed_at: Arc<AtomicU64>,
    ) {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if buffer[..length].windows(9).any(|window| window == b"SUBSCRIBE") {
                subscribed_at.store(self.deaf_before.load(Ordering::SeqCst), Ordering::SeqCst);
                self.subscriptions.fetch_add(1, Ordering::SeqCst);
            }
            if to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    }

    async fn back(
        self,
        mut from: tcp::OwnedReadHalf,
        mut to: tcp::OwnedWriteHalf,
        subscribed_at: Arc<AtomicU64>,
    ) {
        let mut buffer = vec![0; 65_536];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let heard = subscribed_at.load(Ordering::SeqCst) >= self.deaf_before.load(Ordering::SeqCst);
            if heard && to.write_all(&buffer[..length]).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_that_died_in_silence_is_noticed_and_made_anew() {
    let server = OwnRedis::start(&[]);
    let way = Swallower::default();
    let port = way.clone().listen(server.port()).await;
    let redis = Redis::connect(&quick(format!("redis://127.0.0.1:{port}"))).await.unwrap();
    let (bus, mut subscription) = bus(&redis).await;
    let teller = Teller::new(&redis);
    teller.number(0).await;
    assert_eq!(hear(&mut subscription, 1).await, numbers([0]));
    let before = way.subscriptions.load(Ordering::SeqCst);

    way.deaf_before.fetch_add(1, Ordering::SeqCst);
    teller.numbers(1..4).await;
    assert_eq!(hear(&mut subscription, 3).await, numbers(1..4), "the streams are probed");
    until("the deafness is noticed", async || !bus.is_well()).await;
    until("it subscribes again", async || way.subscriptions.load(Ordering::SeqCst) > before).await;
    until("it hears again", async || bus.is_well()).await;
    teller.number(4).await;
    assert_eq!(hear(&mut subscription, 1).await, numbers([4]));
}
