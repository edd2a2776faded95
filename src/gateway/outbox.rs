//! Frames on their way to one socket: a bounded queue that takes no memory while nothing waits in it.
//!
//! A channel would keep room for its first frames in every one of many thousand sockets, most of which are at rest.

use axum::extract::ws::Utf8Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The frames that wait for one socket to write them.
#[derive(Debug)]
pub struct Outbox {
    frames: Mutex<Vec<Utf8Bytes>>,
    max: usize,
    /// Rung when there is something to write.
    filled: Notify,
    /// Rung once a frame found no room: the socket must close as a slow consumer.
    overflowed: Notify,
}

impl Outbox {
    /// `max`: frames that may wait.
    pub(super) fn new(max: usize) -> Self {
        Self { frames: Mutex::default(), max, filled: Notify::new(), overflowed: Notify::new() }
    }

    /// Puts a frame behind the others, or marks the socket as too slow. Never waits.
    pub fn push(&self, frame: Utf8Bytes) {
        let mut frames = self.frames.lock();
        if frames.len() >= self.max {
            drop(frames);
            self.overflowed.notify_one();
            return;
        }
        frames.push(frame);
        if frames.len() == 1 {
            drop(frames);
            self.filled.notify_one();
        }
    }

    /// Everything that waits, in order; waits until there is something. Nothing is lost when the caller stops waiting.
    pub(super) async fn take(&self) -> Vec<Utf8Bytes> {
        loop {
            let frames = self.take_now();
            if !frames.is_empty() {
                return frames;
            }
            self.filled.notified().await;
        }
    }

    /// Everything that waits now, in order.
    pub(super) fn take_now(&self) -> Vec<Utf8Bytes> {
        std::mem::take(&mut *self.frames.lock())
    }

    /// Completes once a frame found no room.
    pub async fn overflowed(&self) {
        self.overflowed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_taken_together_and_in_order() {
        let outbox = Outbox::new(3);
        for text in ["a", "b"] {
            outbox.push(text.into());
        }
        assert_eq!(outbox.take().await, ["a", "b"].map(Utf8Bytes::from));
        outbox.push("c".into());
        assert_eq!(outbox.take().await, ["c"].map(Utf8Bytes::from));
        assert_eq!(outbox.frames.lock().capacity(), 0, "nothing waits, nothing is held");
    }

    #[tokio::test]
    async fn who_waits_is_woken_and_who_stops_waiting_loses_nothing() {
        let outbox = Outbox::new(1);
        let mut waiting = Box::pin(outbox.take());
        assert!(futures_util::poll!(&mut waiting).is_pending());
        outbox.push("a".into());
        drop(waiting);
        assert_eq!(outbox.take().await, ["a"].map(Utf8Bytes::from));
    }

    #[tokio::test]
    async fn a_frame_too_many_is_noticed() {
        let outbox = Outbox::new(1);
        let mut overflowed = Box::pin(outbox.overflowed());
        outbox.push("a".into());
        assert!(futures_util::poll!(&mut overflowed).is_pending());
        outbox.push("b".into());
        overflowed.await;
        assert_eq!(outbox.take().await, ["a"].map(Utf8Bytes::from));
    }
}
