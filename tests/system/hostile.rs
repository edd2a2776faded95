//! Sockets that misbehave: each costs bounded memory and time, and ends with its documented close code.

use futures_util::SinkExt;
use panicbuy::{
    domain::Phase,
    gateway::{
        close,
        protocol::{ByeReason, ClientFrame, SUBPROTOCOL, ServerFrame},
    },
};
use reqwest::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{self, ClientRequestBuilder, Message, http::Uri},
};

use crate::support::{
    PATIENCE, Server,
    client::{Client, Ended},
    eventually,
    shop::{Sale, Shop, enrol},
};

async fn ends_with(client: &mut Client, reason: close::CloseReason) {
    let (ended, _) = client.until_closed().await;
    assert_eq!(ended, Ended::Closed(reason.code));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_closed() {
    let server = Server::with(&["--hello-timeout-ms", "200"]).await;
    ends_with(&mut Client::connect(server.address).await, close::HELLO_TIMEOUT).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_the_protocol_is_closed() {
    let server = Server::start().await;
    let long = format!("{{\"type\":\"ping\",\"nonce\":\"{}\"}}", "x".repeat(5000));
    let huge = "x".repeat(1_000_000);
    for text in ["not json", "[]", "1", long.as_str(), huge.as_str()] {
        let (mut client, _) = Client::hello(server.address, None).await;
        client.say_text(text).await;
        ends_with(&mut client, close::PROTOCOL_VIOLATION).await;
    }
    let (mut client, _) = Client::hello(server.address, None).await;
    client.socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    ends_with(&mut client, close::PROTOCOL_VIOLATION).await;

    let mut client = Client::connect(server.address).await;
    client.say(&ClientFrame::Ping { nonce: 1.into() }).await;
    ends_with(&mut client, close::PROTOCOL_VIOLATION).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_no_valid_token_is_closed() {
    let server = Server::with(&["--token-ttl-ms", "1500"]).await;
    let mut client = Client::connect(server.address).await;
    client.say(&ClientFrame::Hello { token: Some("forged".to_owned()) }).await;
    ends_with(&mut client, close::NOT_AUTHENTICATED).await;

    let token = enrol(&server, 1).await.remove(0);
    let (mut client, _) = Client::hello(server.address, Some(&token)).await;
    ends_with(&mut client, close::TOKEN_EXPIRED).await;
    let mut client = Client::connect(server.address).await;
    client.say(&ClientFrame::Hello { token: Some(token) }).await;
    ends_with(&mut client, close::TOKEN_EXPIRED).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_floods_is_told_when_to_come_back() {
    let server = Server::with(&["--frames-per-socket-per-s", "10"]).await;
    let (mut client, _) = Client::hello(server.address, None).await;
    for nonce in 0..30 {
        // The server may close while we still write.
        let ping = serde_json::to_string(&ClientFrame::Ping { nonce: nonce.into() }).unwrap();
        if client.socket.feed(Message::text(ping)).await.is_err() {
            break;
        }
    }
    let _ = client.socket.flush().await;
    let (ended, frames) = client.until_closed().await;
    assert_eq!(ended, Ended::Closed(close::RATE_LIMITED.code));
    assert!(
        matches!(frames.last(), Some(ServerFrame::Bye { reason: ByeReason::RateLimited, .. })),
        "{frames:?}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_too_many_sockets_gets_no_more() {
    let server = Server::with(&["--max-sockets-per-shopper", "2"]).await;
    let token = enrol(&server, 1).await.remove(0);
    let _first = Client::hello(server.address, Some(&token)).await;
    let _second = Client::hello(server.address, Some(&token)).await;
    let mut third = Client::connect(server.address).await;
    third.say(&ClientFrame::Hello { token: Some(token) }).await;
    ends_with(&mut third, close::TOO_MANY_SOCKETS).await;
    server.stop().await;
}

/// Half-open: the peer is there, but never answers a ping.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_for_two_heartbeats_is_closed() {
    let server = Server::with(&["--heartbeat-ms", "150"]).await;
    let mut stream = raw_handshake(server.address, None).await;
    // A masked text frame by hand: {"type":"hello"} with a mask of zeros.
    let hello = br#"{"type":"hello"}"#;
    let mut frame = vec![0x81, 0x80 + u8::try_from(hello.len()).unwrap(), 0, 0, 0, 0];
    frame.extend_from_slice(hello);
    stream.write_all(&frame).await.unwrap();
    let mut heard = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("an end").unwrap();
    let code = close::SILENT.code.to_be_bytes();
    assert!(heard.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == code), "no close frame with 4004");
    server.stop().await;
}

/// Never reads: frames pile up to the documented bound and not beyond, then the socket is closed as too slow.
#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_is_closed_as_too_slow() {
    let flags =
        ["--outbox-frames", "8", "--frames-per-socket-per-s", "1000000", "--write-timeout-ms", "60000"];
    let server = Server::with(&flags).await;
    let admin = Shop::admin(server.address).await;
    let token = enrol(&server, 1).await.remove(0);
    let promo = admin.publish(&Sale { opens_in_ms: 600_000, ..Sale::default() }).await;
    let mut deaf = raw_handshake(server.address, Some(4096)).await;
    let hello = serde_json::to_string(&ClientFrame::Hello { token: Some(token.clone()) }).unwrap();
    let mut frame = vec![0x81, 0xfe];
    frame.extend_from_slice(&u16::try_from(hello.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(hello.as_bytes());
    deaf.write_all(&frame).await.unwrap();

    // The shopper's other socket makes news for both.
    let (mut busy, _) = Client::join(server.address, &token, promo).await;
    let metrics = || async { Shop::visitor(server.address).text("/metrics").await };
    let slow = || {
        let line = format!("panicbuy_closed_sockets_total{{code=\"{}\"}}", close::SLOW_CONSUMER.code);
        async move { metrics().await.contains(&line).then_some(()) }
    };
    let noise = async {
        loop {
            for _ in 0..200 {
                busy.say(&ClientFrame::Leave { promo_id: promo }).await;
                busy.say(&ClientFrame::Join { promo_id: promo }).await;
            }
            for _ in 0..200 {
                busy.state(|state| state.phase == Phase::None).await;
            }
            busy.forget();
        }
    };
    tokio::select! {
        () = noise => unreachable!("the noise does not end by itself"),
        () = eventually("the deaf socket to be closed", slow) => {}
    }
    drop(deaf);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_are_limited_per_address() {
    let server = Server::with(&["--handshakes-per-address-per-s", "2"]).await;
    let mut refused = false;
    for _ in 0..5 {
        refused |= handshake_status(server.address, None).await == Some(StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sockets_are_limited_for_the_whole_server() {
    let server = Server::with(&["--max-sockets", "1"]).await;
    let first = Client::hello(server.address, None).await;
    assert_eq!(handshake_status(server.address, None).await, Some(StatusCode::SERVICE_UNAVAILABLE));
    drop(first);
    let free = || async { handshake_status(server.address, None).await.is_none().then_some(()) };
    eventually("a free socket", free).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_from_elsewhere_are_turned_away() {
    let server = Server::with(&["--allowed-origins", "https://shop.example"]).await;
    let own = format!("http://{}", server.address);
    for (origin, status) in [
        ("https://evil.example", Some(StatusCode::FORBIDDEN)),
        ("null", Some(StatusCode::FORBIDDEN)),
        ("https://shop.example", None),
        (own.as_str(), None),
    ] {
        assert_eq!(handshake_status(server.address, Some(origin)).await, status, "{origin}");
    }
    server.stop().await;
}

/// A request whose head never ends does not keep its connection.
#[tokio::test(flavor = "multi_thread")]
async fn who_never_finishes_asking_is_cut_off() {
    let server = Server::with(&["--head-timeout-ms", "300"]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    let mut heard = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("an end").unwrap();
    server.stop().await;
}

/// The status a handshake is refused with; `None` if it succeeds.
async fn handshake_status(address: std::net::SocketAddr, origin: Option<&str>) -> Option<StatusCode> {
    let uri: Uri = format!("ws://{address}/ws").parse().unwrap();
    let mut request = ClientRequestBuilder::new(uri).with_sub_protocol(SUBPROTOCOL);
    if let Some(origin) = origin {
        request = request.with_header("origin", origin);
    }
    match connect_async(request).await {
        Ok(_) => None,
        Err(tungstenite::Error::Http(response)) => {
            Some(StatusCode::from_u16(response.status().as_u16()).unwrap())
        }
        Err(error) => panic!("{error}"),
    }
}

/// A socket opened by hand, so that nothing answers pings or reads.
async fn raw_handshake(address: std::net::SocketAddr, receive_buffer: Option<u32>) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(bytes) = receive_buffer {
        socket.set_recv_buffer_size(bytes).unwrap();
    }
    let mut stream = socket.connect(address).await.unwrap();
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}
