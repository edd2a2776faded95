//! The in-process bus: one bounded broadcast channel.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::port::{Event, Heard, Results, Subscription};

/// A bus for one process.
#[derive(Debug)]
pub struct MemoryResults {
    sender: broadcast::Sender<Arc<[Event]>>,
}

impl MemoryResults {
    /// `capacity`: how many publications a slow subscriber may be behind before it misses some.
    pub fn new(capacity: usize) -> Self {
        Self { sender: broadcast::channel(capacity).0 }
    }

    /// Tells every subscriber. Never waits for one.
    pub fn publish(&self, events: Vec<Event>) {
        if !events.is_empty() {
            // An error only means that nobody listens.
            let _ = self.sender.send(events.into());
        }
    }
}

impl Results for MemoryResults {
    fn subscribe(&self) -> Box<dyn Subscription> {
        Box::new(MemorySubscription { receiver: self.sender.subscribe() })
    }
}

struct MemorySubscription {
    receiver: broadcast::Receiver<Arc<[Event]>>,
}

#[async_trait]
impl Subscription for MemorySubscription {
    async fn next(&mut self) -> Heard {
        match self.receiver.recv().await {
            Ok(events) => Heard::Events(events),
            Err(broadcast::error::RecvError::Lagged(_)) => Heard::Missed,
            Err(broadcast::error::RecvError::Closed) => Heard::Closed,
        }
    }
}
