//! A wire between a store and the server that can be stopped, and cut where it hurts most.

use std::sync::Arc;

use panicbuy_test_servers::shared;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::AbortHandle,
};

/// What the wire does with what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Open,
    /// Nothing passes, in either direction; nobody is told.
    Stopped,
    /// The next COMMIT reaches the server, its answer reaches nobody.
    CutAtCommit,
    /// The COMMIT has passed.
    CutAtAnswer,
}

pub(super) struct Proxy {
    pub url: String,
    wire: Arc<watch::Sender<Wire>>,
    task: AbortHandle,
}

impl Proxy {
    /// A wire to the database of `name`.
    pub(super) async fn start(name: &str) -> Self {
        let server = shared().database(name);
        let (login, place) = server.strip_prefix("mysql://").unwrap().rsplit_once('@').unwrap();
        let (address, _) = place.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        // Without TLS, so that the wire can read what it carries.
        let url = format!("mysql://{login}@{here}/{name}?ssl-mode=DISABLED");
        let wire = Arc::new(watch::Sender::new(Wire::Open));
        let task = tokio::spawn(accept(listener, address.to_owned(), Arc::clone(&wire)));
        Self { url, wire, task: task.abort_handle() }
    }

    pub(super) fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }

    /// Whether a COMMIT passed since the wire was set to be cut at one.
    pub(super) fn was_cut(&self) -> bool {
        *self.wire.borrow() == Wire::Open
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, address: String, wire: Arc<watch::Sender<Wire>>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(&address).await.unwrap();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let (up, down) = (Arc::clone(&wire), Arc::clone(&wire));
        tokio::spawn(async move {
            // Whichever ends first takes both sides with it.
            tokio::select! {
                () = carry(from_client, to_server, &up, note_commit) => {}
                () = carry(from_server, to_client, &down, is_cut) => {}
            }
        });
    }
}

/// Carries bytes until one side closes, or `cut` says so of bytes that are about to pass.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    wire: &watch::Sender<Wire>,
    cut: fn(&watch::Sender<Wire>, &[u8]) -> bool,
) {
    let mut state = wire.subscribe();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        state.wait_for(|wire| *wire != Wire::Stopped).await.unwrap();
        if cut(wire, &buffer[..length]) || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

/// What the client says: a COMMIT starts the wait for its answer.
fn note_commit(wire: &watch::Sender<Wire>, bytes: &[u8]) -> bool {
    if bytes.ends_with(b"\x03COMMIT") {
        change(wire, Wire::CutAtCommit, Wire::CutAtAnswer);
    }
    false
}

/// What the server says: the awaited answer is where the wire is cut.
fn is_cut(wire: &watch::Sender<Wire>, _: &[u8]) -> bool {
    change(wire, Wire::CutAtAnswer, Wire::Open)
}

fn change(wire: &watch::Sender<Wire>, from: Wire, to: Wire) -> bool {
    wire.send_if_modified(|state| {
        let changes = *state == from;
        if changes {
            *state = to;
        }
        changes
    })
}
