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

use super::outbox::Outbox;
use crate::{
    domain::{PromoId, UserId},
    service::queue::Stamp,
};

/// One socket as the rest of the process sees it.
#[derive(Debug)]
pub struct Socket {
    id: u64,
    /// Frames that are to be written.
    pub outbox: Outbox,
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
    watchers: DashMap<PromoId, Watchers>,
}

/// Who watches a promo, and what they were told last.
#[derive(Debug, Default)]
struct Watchers {
    sockets: HashMap<u64, Arc<Socket>>,
    told: Option<Told>,
}

/// A promo's `queue` and `stock` frames, and how new they are.
#[derive(Clone, Debug)]
pub struct Told {
    pub stamp: Stamp,
    pub queue: Utf8Bytes,
    pub stock: Utf8Bytes,
}

/// Which of a promo's frames say something new.
#[derive(Clone, Copy, Debug)]
pub struct News {
    pub queue: bool,
    pub stock: bool,
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

    /// A new socket, known to nobody yet.
    pub fn socket(&self) -> Arc<Socket> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        Arc::new(Socket { id, outbox: Outbox::new(self.outbox_frames) })
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
            watchers.sockets.remove(&socket.id);
            watchers.sockets.is_empty()
        });
    }

    /// Lets the socket hear a promo's broadcasts; returns what it is to hear first: what was seen `now`, or, if that is
    /// newer, what everybody was told meanwhile.
    pub fn watch(&self, promo: PromoId, socket: &Arc<Socket>, now: Told) -> Told {
        let mut watchers = self.watchers.entry(promo).or_default();
        watchers.sockets.insert(socket.id, Arc::clone(socket));
        match &watchers.told {
            Some(told) if told.stamp > now.stamp => told.clone(),
            _ => watchers.told.insert(now).clone(),
        }
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
            sockets.iter().for_each(|socket| socket.outbox.push(frame.clone()));
        }
    }

    /// Puts the frame into the outbox of each of the shopper's sockets but this one.
    pub fn push_to_others(&self, user: UserId, but: &Socket, frame: &Utf8Bytes) {
        if let Some(sockets) = self.shoppers.get(&user) {
            sockets
                .iter()
                .filter(|socket| socket.id != but.id)
                .for_each(|socket| socket.outbox.push(frame.clone()));
        }
    }

    /// Puts the frames that say something new into the outbox of everybody who watches the promo, unless somebody has
    /// heard newer ones already. The texts are shared, not copied.
    pub fn broadcast(&self, promo: PromoId, now: Told, news: News) {
        let Some(mut watchers) = self.watchers.get_mut(&promo) else { return };
        if watchers.told.as_ref().is_some_and(|told| told.stamp > now.stamp) {
            return;
        }
        for socket in watchers.sockets.values() {
            if news.queue {
                socket.outbox.push(now.queue.clone());
            }
            if news.stock {
                socket.outbox.push(now.stock.clone());
            }
        }
        watchers.told = Some(now);
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
