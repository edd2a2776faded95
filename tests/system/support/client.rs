//! A shopper's socket, as a test holds it.

use std::{collections::VecDeque, net::SocketAddr};

use super::PATIENCE;
use futures_util::{SinkExt, StreamExt};
use panicbuy::{
    domain::{OrderId, Phase, PromoId, RequestId},
    gateway::protocol::{
        ClientFrame, OrderFrame, OutcomeFrame, SUBPROTOCOL, ServerFrame, StateFrame, WelcomeFrame,
    },
    random,
};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{ClientRequestBuilder, Message, http::Uri},
};

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One socket, with the frames that were passed over while looking for another.
pub struct Client {
    pub socket: Socket,
    passed_over: VecDeque<ServerFrame>,
}

/// How the server ended a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    Closed(u16),
    Lost,
}

impl Client {
    /// Opens a socket without saying anything.
    pub async fn connect(address: SocketAddr) -> Self {
        let uri: Uri = format!("ws://{address}/ws").parse().unwrap();
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
        let (socket, _) = timeout(PATIENCE, connect_async(request)).await.expect("a handshake").unwrap();
        Self { socket, passed_over: VecDeque::new() }
    }

    /// Opens a socket, if there is somebody to open it.
    pub async fn may_connect(address: SocketAddr) -> Option<Self> {
        let uri: Uri = format!("ws://{address}/ws").parse().unwrap();
        let request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
        let (socket, _) = connect_async(request).await.ok()?;
        Some(Self { socket, passed_over: VecDeque::new() })
    }

    /// Says hello, joins, waits for a pass and orders. `None`: nothing left, or the connection ended.
    pub async fn buy(mut self, token: &str, request: RequestId, promo: PromoId) -> Option<OrderId> {
        self.try_say(&ClientFrame::Hello { token: Some(token.to_owned()) }).await?;
        self.try_say(&ClientFrame::Join { promo_id: promo }).await?;
        loop {
            match self.next().await.ok()? {
                ServerFrame::State(state) if state.phase == Phase::Admitted => {
                    self.try_order(promo, request).await?;
                }
                ServerFrame::Accepted { order_id, .. } => return Some(order_id),
                ServerFrame::Welcome(welcome) => {
                    let confirmed = welcome.states.iter().find(|state| state.phase == Phase::Confirmed);
                    if let Some(state) = confirmed {
                        return state.order_id;
                    }
                }
                ServerFrame::Stock(stock) if stock.available == 0 => return None,
                _ => {}
            }
        }
    }

    /// Opens a socket and says hello.
    pub async fn hello(address: SocketAddr, token: Option<&str>) -> (Self, WelcomeFrame) {
        let mut client = Self::connect(address).await;
        client.say(&ClientFrame::Hello { token: token.map(str::to_owned) }).await;
        match client.next().await {
            Ok(ServerFrame::Welcome(welcome)) => (client, welcome),
            other => panic!("expected welcome, got {other:?}"),
        }
    }

    /// Opens a socket for a shopper and joins a promo.
    pub async fn join(address: SocketAddr, token: &str, promo: PromoId) -> (Self, StateFrame) {
        let (mut client, _) = Self::hello(address, Some(token)).await;
        client.say(&ClientFrame::Join { promo_id: promo }).await;
        let state = client.state(|_| true).await;
        (client, state)
    }

    pub async fn say(&mut self, frame: &ClientFrame) {
        self.say_text(&serde_json::to_string(frame).unwrap()).await;
    }

    /// Says something to a server that may be gone.
    pub async fn try_say(&mut self, frame: &ClientFrame) -> Option<()> {
        self.socket.send(Message::text(serde_json::to_string(frame).unwrap())).await.ok()
    }

    /// Orders one unit from a server that may be gone.
    pub async fn try_order(&mut self, promo: PromoId, request_id: RequestId) -> Option<()> {
        let order = OrderFrame { request_id, promo_id: Some(promo), item_id: None, quantity: 1 };
        self.try_say(&ClientFrame::Order(order)).await
    }

    pub async fn say_text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next frame, or how the connection ended.
    pub async fn next(&mut self) -> Result<ServerFrame, Ended> {
        if let Some(frame) = self.passed_over.pop_front() {
            return Ok(frame);
        }
        self.receive().await
    }

    async fn receive(&mut self) -> Result<ServerFrame, Ended> {
        loop {
            match timeout(PATIENCE, self.socket.next()).await.expect("a frame in time") {
                Some(Ok(Message::Text(text))) => {
                    return Ok(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")));
                }
                Some(Ok(Message::Close(Some(frame)))) => return Err(Ended::Closed(frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(Ended::Lost),
            }
        }
    }

    /// The first frame, already passed over or still to come, of which `pick` makes something.
    pub async fn find<T>(&mut self, mut pick: impl FnMut(&ServerFrame) -> Option<T>) -> T {
        let known = self.passed_over.iter().enumerate().find_map(|(at, frame)| Some((at, pick(frame)?)));
        if let Some((at, found)) = known {
            self.passed_over.remove(at);
            return found;
        }
        loop {
            let frame = self.receive().await.expect("the socket stays open");
            match pick(&frame) {
                Some(found) => return found,
                None => self.passed_over.push_back(frame),
            }
        }
    }

    /// Forgets the frames that were passed over.
    pub fn forget(&mut self) {
        self.passed_over.clear();
    }

    /// The first state that `is` so.
    pub async fn state(&mut self, mut is: impl FnMut(&StateFrame) -> bool) -> StateFrame {
        self.find(|frame| match frame {
            ServerFrame::State(state) if is(state) => Some(state.clone()),
            _ => None,
        })
        .await
    }

    /// Places an order; returns its request.
    pub async fn order(&mut self, promo: PromoId) -> RequestId {
        let request_id = RequestId(random::uuid());
        self.repeat_order(promo, request_id).await;
        request_id
    }

    /// Places an order under a request that may have been used before.
    pub async fn repeat_order(&mut self, promo: PromoId, request_id: RequestId) {
        let order = OrderFrame { request_id, promo_id: Some(promo), item_id: None, quantity: 1 };
        self.say(&ClientFrame::Order(order)).await;
    }

    /// The `accepted` or `refused` of a request.
    pub async fn answer(&mut self, request: RequestId) -> ServerFrame {
        self.find(|frame| match frame {
            ServerFrame::Accepted { request_id, .. } | ServerFrame::Refused { request_id, .. }
                if *request_id == request =>
            {
                Some(frame.clone())
            }
            _ => None,
        })
        .await
    }

    /// The order of a request that must be accepted.
    pub async fn accepted(&mut self, request: RequestId) -> OrderId {
        match self.answer(request).await {
            ServerFrame::Accepted { order_id, .. } => order_id,
            other => panic!("expected accepted, got {other:?}"),
        }
    }

    /// Orders until that is accepted: what is refused for a moment is asked for again, under the same request.
    pub async fn insist(&mut self, promo: PromoId) -> OrderId {
        let request = RequestId(random::uuid());
        loop {
            self.repeat_order(promo, request).await;
            match self.answer(request).await {
                ServerFrame::Accepted { order_id, .. } => return order_id,
                ServerFrame::Refused { reason, .. } if reason.is_temporary() => {
                    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                }
                other => panic!("expected accepted, got {other:?}"),
            }
        }
    }

    /// The outcome of an order.
    pub async fn outcome(&mut self, order: OrderId) -> OutcomeFrame {
        self.find(|frame| match frame {
            ServerFrame::Outcome(outcome) if outcome.order_id == order => Some(outcome.clone()),
            _ => None,
        })
        .await
    }

    /// Reads until the server ends the connection; returns how, and the frames that came before.
    pub async fn until_closed(&mut self) -> (Ended, Vec<ServerFrame>) {
        let mut frames: Vec<ServerFrame> = self.passed_over.drain(..).collect();
        loop {
            match self.receive().await {
                Ok(frame) => frames.push(frame),
                Err(ended) => return (ended, frames),
            }
        }
    }
}
