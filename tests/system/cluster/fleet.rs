//! Several processes of one shop.

use std::{
    net::SocketAddr,
    sync::{Arc, RwLock},
};

use crate::support::{home::Home, process::Process};

const GATEWAY: [&str; 2] = ["--role", "gateway"];
const WRITER: [&str; 2] = ["--role", "writer"];

/// Where gateways answer right now.
pub type Addresses = Arc<RwLock<Vec<SocketAddr>>>;

/// Gateways and writers that share one home.
pub struct Fleet {
    pub gateways: Vec<Process>,
    pub writers: Vec<Process>,
    flags: Vec<&'static str>,
    addresses: Addresses,
    home: Home,
}

impl Fleet {
    /// Two gateways and two writers, all with these flags.
    pub fn start(home: Home, flags: &[&'static str]) -> Self {
        let mut fleet = Self {
            home,
            gateways: Vec::new(),
            writers: Vec::new(),
            flags: flags.to_vec(),
            addresses: Addresses::default(),
        };
        for _ in 0..2 {
            fleet.gateways.push(fleet.gateway(""));
            fleet.writers.push(fleet.writer(""));
        }
        fleet.note_addresses();
        fleet
    }

    /// Another gateway that dies where `failpoints` say.
    pub fn gateway(&self, failpoints: &str) -> Process {
        Process::start(&self.home, failpoints, &[&GATEWAY, self.flags.as_slice()].concat())
    }

    /// Another writer that dies where `failpoints` say.
    pub fn writer(&self, failpoints: &str) -> Process {
        Process::start(&self.home, failpoints, &[&WRITER, self.flags.as_slice()].concat())
    }

    /// Where gateways answer, also after they were replaced.
    pub fn addresses(&self) -> Addresses {
        Arc::clone(&self.addresses)
    }

    /// To be called after a gateway was replaced.
    pub fn note_addresses(&self) {
        let now = self.gateways.iter().map(|gateway| gateway.address).collect();
        *self.addresses.write().unwrap() = now;
    }

    /// One gateway's address.
    pub fn address(&self) -> SocketAddr {
        self.gateways[0].address
    }

    /// Replaces a gateway, as a deploy does: the old one says goodbye first.
    pub async fn replace_gateway(&mut self, nth: usize) {
        let fresh = self.gateway("");
        let old = std::mem::replace(&mut self.gateways[nth], fresh);
        self.note_addresses();
        tokio::task::spawn_blocking(|| old.terminate()).await.unwrap();
    }

    /// Replaces a writer, as a deploy does.
    pub async fn replace_writer(&mut self, nth: usize) {
        let fresh = self.writer("");
        let old = std::mem::replace(&mut self.writers[nth], fresh);
        tokio::task::spawn_blocking(|| old.terminate()).await.unwrap();
    }
}
