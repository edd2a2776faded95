//! Every socket of this process, by shopper and by promo.
//!
//! Delivery never waits: a socket whose outbox is full is told to close, and forgotten.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use axum::extract::ws::Utf8Bytes;
use dashmap::DashMap;
use tokio::sync::{Notify, mpsc};

use crate::domain::{PromoId, UserId};

/// One socket as the rest of the process sees it.
#[derive(Debug)]
pub struct Socket {
    id: u64,
    outbox: mpsc::Sender<Utf8Bytes>,
    /// Rung once the outbox was full: the socket must close as a slow consumer.
    too_slow: Notify,
}

impl Socket {
    /// Puts a frame into the outbox, or marks the socket as too slow.
    pub fn push(&self, frame: Utf8Bytes) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.outbox.try_send(frame) {
            self.too_slow.notify_one();
        }
    }

    /// Completes once the socket was too slow.
    pub async fn too_slow(&self) {
        self.too_slow.notified().await;
    }
}

/// The shopper holds as many sockets as one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManySockets;

/// All sockets of this process.
#[derive(Debug)]
pub struct Registry {
    outbox_frames: usize,
    max_per_shopper: usize,
    next_id: AtomicU64,
    open: AtomicUsize,
    shoppers: DashMap<UserId, Vec<Arc<Socket>>>,
    watchers: DashMap<PromoId, HashMap<u64, Arc<Socket>>>,
}

impl Registry {
    /// `outbox_frames`: frames a socket may be behind. `max_per_shopper`: sockets one shopper may hold.
    pub fn new(outbox_frames: usize, max_per_shopper: usize) -> Self {
        Self {
            outbox_frames,
            max_per_shopper,
            next_id: AtomicU64::new(1),
            open: AtomicUsize::new(0),
            shoppers: DashMap::new(),
            watchers: DashMap::new(),
        }
    }

    /// A new socket, known to nobody yet, and its outbox.
    pub fn socket(&self) -> (Arc<Socket>, mpsc::Receiver<Utf8Bytes>) {
        let (outbox, frames) = mpsc::channel(self.outbox_frames);
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        (Arc::new(Socket { id, outbox, too_slow: Notify::new() }), frames)
    }

    /// Counts a socket that is being opened; `None` if `max` are open. It is counted until the permit is dropped.
    pub fn admit(self: &Arc<Self>, max: usize) -> Option<OpenSocket> {
        let open = self.open.fetch_add(1, Ordering::Relaxed);
        let permit = OpenSocket { registry: Arc::clone(self) };
        metrics::gauge!("panicbuy_sockets").increment(1);
        (open < max).then_some(permit)
    }

    /// Makes the socket one of the shopper's.
    pub fn enter(&self, user: UserId, socket: &Arc<Socket>) -> Result<(), TooManySockets> {
        let mut sockets = self.shoppers.entry(user).or_default();
        if sockets.len() >= self.max_per_shopper {
            return Err(TooManySockets);
        }
        sockets.push(Arc::clone(socket));
        Ok(())
    }

    /// Forgets the socket.
    pub fn leave(&self, user: Option<UserId>, watched: impl Iterator<Item = PromoId>, socket: &Socket) {
        if let Some(user) = user {
            self.shoppers.remove_if_mut(&user, |_, sockets| {
                sockets.retain(|other| other.id != socket.id);
                sockets.is_empty()
            });
        }
        watched.for_each(|promo| self.unwatch(promo, socket));
    }

    /// Forgets that the socket watches the promo.
    pub fn unwatch(&self, promo: PromoId, socket: &Socket) {
        self.watchers.remove_if_mut(&promo, |_, watchers| {
            watchers.remove(&socket.id);
            watchers.is_empty()
        });
    }

    /// Lets the socket hear a promo's broadcasts.
    pub fn watch(&self, promo: PromoId, socket: &Arc<Socket>) {
        self.watchers.entry(promo).or_default().insert(socket.id, Arc::clone(socket));
    }

    /// The promos somebody here watches.
    pub fn watched(&self) -> Vec<PromoId> {
        self.watchers.iter().map(|entry| *entry.key()).collect()
    }

    /// Every shopper with a socket here.
    pub fn shoppers(&self) -> Vec<UserId> {
        self.shoppers.iter().map(|entry| *entry.key()).collect()
    }

    /// Whether the shopper has a socket here.
    pub fn is_here(&self, user: UserId) -> bool {
        self.shoppers.contains_key(&user)
    }

    /// Puts the frame into the outbox of each of the shopper's sockets.
    pub fn push(&self, user: UserId, frame: &Utf8Bytes) {
        if let Some(sockets) = self.shoppers.get(&user) {
            sockets.iter().for_each(|socket| socket.push(frame.clone()));
        }
    }

    /// Puts the frame into the outbox of each of the shopper's sockets but this one.
    pub fn push_to_others(&self, user: UserId, but: &Socket, frame: &Utf8Bytes) {
        if let Some(sockets) = self.shoppers.get(&user) {
            sockets.iter().filter(|socket| socket.id != but.id).for_each(|socket| socket.push(frame.clone()));
        }
    }

    /// Puts the frame into the outbox of everybody who watches the promo. The text is shared, not copied.
    pub fn broadcast(&self, promo: PromoId, frame: &Utf8Bytes) {
        if let Some(watchers) = self.watchers.get(&promo) {
            watchers.values().for_each(|socket| socket.push(frame.clone()));
        }
    }
}

/// Counts one open socket for as long as it lives.
#[derive(Debug)]
pub struct OpenSocket {
    registry: Arc<Registry>,
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.registry.open.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("panicbuy_sockets").decrement(1);
    }
}
