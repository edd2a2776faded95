//! One simulated shopper: an account, a socket, and what is heard there.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::{RngCore, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Utf8Bytes;
use uuid::Uuid;

use crate::{
    heard::{Asked, Heard},
    shop::Account,
    socket::{self, Socket},
    target::Target,
};

/// A shopper with an open socket. Everything that comes while one of its methods waits is taken in.
#[derive(Debug)]
pub struct Shopper {
    pub heard: Heard,
    user_id: i64,
    socket: Socket,
    chance: StdRng,
}

impl Shopper {
    /// A shopper who has said hello. The seed draws request ids.
    pub fn new(user_id: i64, socket: Socket, seed: u64) -> Self {
        Self { heard: Heard::about(user_id, 0), user_id, socket, chance: StdRng::seed_from_u64(seed) }
    }

    /// Joins a promo; what was heard of others is forgotten.
    pub async fn join(&mut self, promo: i64) -> anyhow::Result<()> {
        self.heard = Heard::about(self.user_id, promo);
        self.socket.say(socket::about("join", promo)).await
    }

    /// Wants no more broadcasts of the promo.
    pub async fn unwatch(&mut self) -> anyhow::Result<()> {
        self.socket.say(socket::about("unwatch", self.heard.promo_id)).await
    }

    /// An order of one unit that is ready to be sent.
    pub fn write_order(&mut self) -> (Uuid, Utf8Bytes) {
        order(self.heard.promo_id, &mut self.chance)
    }

    /// Sends an order that was meant to be sent at `intended`.
    pub async fn send_order(
        &mut self,
        (request_id, frame): (Uuid, Utf8Bytes),
        intended: Instant,
    ) -> anyhow::Result<()> {
        self.heard.asked = Some(Asked { request_id, intended, sent: Instant::now() });
        self.socket.say(frame).await
    }

    /// Listens until so much has been heard.
    pub async fn listen_until(&mut self, enough: impl Fn(&Heard) -> bool) -> anyhow::Result<()> {
        while !enough(&self.heard) {
            let frame = self.socket.hear().await?;
            self.heard.note(&frame, Instant::now());
        }
        Ok(())
    }

    /// Listens until the event; pings are answered meanwhile.
    pub async fn listen_while<T>(&mut self, event: impl Future<Output = T>) -> anyhow::Result<T> {
        tokio::pin!(event);
        loop {
            tokio::select! {
                biased;
                happened = &mut event => return Ok(happened),
                frame = self.socket.hear() => self.heard.note(&frame?, Instant::now()),
            }
        }
    }

    /// Says goodbye.
    pub async fn leave(self) {
        self.socket.leave().await;
    }
}

/// An order of one unit of a promo, with a request id of its own.
pub fn order(promo: i64, chance: &mut StdRng) -> (Uuid, Utf8Bytes) {
    let mut bytes = [0; 16];
    chance.fill_bytes(&mut bytes);
    let request_id = uuid::Builder::from_random_bytes(bytes).into_uuid();
    let frame = format!(r#"{{"type":"order","request_id":"{request_id}","promo_id":{promo},"quantity":1}}"#);
    (request_id, frame.into())
}

/// Opens a socket for each account, so many in each second, so that a server's limit on handshakes is not what is measured.
/// Each comes with its account's place in the list.
pub async fn enter_sockets(
    target: &Target,
    accounts: &[Account],
    per_s: u32,
) -> anyhow::Result<Vec<(usize, Socket)>> {
    let target = Arc::new(target.clone());
    let began = tokio::time::Instant::now();
    let mut coming = JoinSet::new();
    let mut sockets = Vec::with_capacity(accounts.len());
    for (number, account) in accounts.iter().enumerate() {
        let nth = u32::try_from(number).unwrap_or(u32::MAX);
        tokio::time::sleep_until(began + Duration::from_secs(1) * nth / per_s).await;
        let (target, token) = (Arc::clone(&target), account.token.clone());
        coming.spawn(async move {
            let entered = Socket::enter(target.of(number), number, &token).await;
            entered.map(|(socket, _)| (number, socket))
        });
        while let Some(come) = coming.try_join_next() {
            sockets.push(come??);
        }
    }
    while let Some(come) = coming.join_next().await {
        sockets.push(come??);
    }
    Ok(sockets)
}
