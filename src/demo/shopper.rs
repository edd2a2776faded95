//! One simulated shopper: comes, waits, is distracted, buys, and mostly pays.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{self, ClientRequestBuilder, Message, http::Uri},
};

use crate::{
    domain::{OrderId, Phase, PromoId, Reason, RequestId, StandingReason},
    gateway::protocol::{ClientFrame, OrderFrame, SUBPROTOCOL, ServerFrame, StateFrame},
    random,
    service::{order::OrderService, user::Session},
};

/// What a shopper needs to shop.
pub struct Shopper {
    pub address: SocketAddr,
    pub session: Session,
    pub promo: PromoId,
    pub temper: Temper,
    pub orders: Arc<OrderService>,
}

/// What kind of person this is.
#[derive(Clone, Copy, Debug)]
pub struct Temper {
    /// From pass to order, in milliseconds.
    hesitates_ms: u64,
    /// From outcome to payment.
    pays_after_ms: u64,
    pays: bool,
    /// Loses the connection while waiting, once.
    drops_out: bool,
    /// Lets the pass lapse.
    dreams: bool,
}

impl Temper {
    pub fn random() -> Self {
        Self {
            hesitates_ms: 800 + random::below(6000),
            pays_after_ms: 2000 + random::below(15_000),
            pays: random::below(100) < 85,
            drops_out: random::below(100) < 10,
            dreams: random::below(100) < 4,
        }
    }
}

/// After this many lost connections a shopper goes home.
const MAX_VISITS: u32 = 50;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// How a visit ended.
enum Visit {
    /// Bought, or has nothing more to hope for.
    Done,
    /// The connection is gone; come back after this long.
    ComeBackAfter(Duration),
}

impl Shopper {
    /// Comes after `arrives_in_ms` and stays until bought.
    pub async fn shop(mut self, arrives_in_ms: u64) {
        tokio::time::sleep(Duration::from_millis(arrives_in_ms)).await;
        for _ in 0..MAX_VISITS {
            match self.visit().await {
                Ok(Visit::Done) => return,
                Ok(Visit::ComeBackAfter(pause)) => tokio::time::sleep(pause).await,
                Err(error) => {
                    tracing::debug!(%error, "a simulated shopper lost the connection");
                    tokio::time::sleep(Duration::from_millis(500 + random::below(3000))).await;
                }
            }
        }
    }

    async fn visit(&mut self) -> Result<Visit, tungstenite::Error> {
        let uri: Uri = format!("ws://{}/ws", self.address).parse().expect("an address makes a URI");
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
        let (mut socket, _) = connect_async(request).await?;
        say(&mut socket, &ClientFrame::Hello { token: Some(self.session.token.clone()) }).await?;
        say(&mut socket, &ClientFrame::Join { promo_id: self.promo }).await?;
        let distracted = tokio::time::sleep(Duration::from_millis(random::below(20_000)));
        tokio::pin!(distracted);
        loop {
            let message = tokio::select! {
                message = socket.next() => message,
                () = &mut distracted, if self.temper.drops_out => {
                    self.temper.drops_out = false;
                    return Ok(Visit::ComeBackAfter(Duration::from_millis(1000 + random::below(8000))));
                }
            };
            let Some(message) = message else {
                return Ok(Visit::ComeBackAfter(Duration::from_millis(random::below(3000))));
            };
            let Message::Text(text) = message? else { continue };
            let Ok(frame) = serde_json::from_str(&text) else { continue };
            if let Some(visit) = self.hear(&mut socket, frame).await? {
                return Ok(visit);
            }
        }
    }

    async fn hear(
        &mut self,
        socket: &mut Socket,
        frame: ServerFrame,
    ) -> Result<Option<Visit>, tungstenite::Error> {
        match frame {
            ServerFrame::State(state) if state.promo_id == self.promo => self.act(socket, state).await,
            ServerFrame::Bye { reconnect_after_ms, .. } => {
                Ok(Some(Visit::ComeBackAfter(Duration::from_millis(reconnect_after_ms))))
            }
            _ => Ok(None),
        }
    }

    async fn act(
        &mut self,
        socket: &mut Socket,
        state: StateFrame,
    ) -> Result<Option<Visit>, tungstenite::Error> {
        match state.phase {
            Phase::Admitted if self.temper.dreams => {
                self.temper.dreams = false;
                Ok(None)
            }
            Phase::Admitted => {
                tokio::time::sleep(Duration::from_millis(self.temper.hesitates_ms)).await;
                let order = OrderFrame {
                    request_id: RequestId(random::uuid()),
                    promo_id: Some(self.promo),
                    item_id: None,
                    quantity: 1,
                };
                say(socket, &ClientFrame::Order(order)).await?;
                Ok(None)
            }
            Phase::Confirmed => {
                self.pay(state.order_id).await;
                Ok(Some(Visit::Done))
            }
            // When the sale is over there is nothing to hope for. Who lost the place gives it another try.
            Phase::None if state.reason == Some(StandingReason::Because(Reason::Ended)) => {
                Ok(Some(Visit::Done))
            }
            Phase::None if state.order_id.is_none() && state.reason.is_some() => {
                say(socket, &ClientFrame::Join { promo_id: self.promo }).await?;
                Ok(None)
            }
            Phase::None | Phase::Lobby | Phase::Queued | Phase::Pending | Phase::Rejected => Ok(None),
        }
    }

    async fn pay(&self, order: Option<OrderId>) {
        let Some(order) = order.filter(|_| self.temper.pays) else { return };
        tokio::time::sleep(Duration::from_millis(self.temper.pays_after_ms)).await;
        if let Err(error) = self.orders.pay(self.session.user.id, order).await {
            tracing::debug!(%error, "a simulated shopper could not pay");
        }
    }
}

async fn say(socket: &mut Socket, frame: &ClientFrame) -> Result<(), tungstenite::Error> {
    let text = serde_json::to_string(frame).expect("frames have no map with other keys than strings");
    socket.send(Message::text(text)).await
}
