//! What time does to a waiting room: passes run out, the next in line are called, each in bounded steps.

use super::{
    super::{passes::Pass, port::LogState},
    Room,
};
use crate::domain::{Timestamp, UserId};

/// Passes and places a single tick acts on, at most, so that one tick is always short.
const MAX_STEPS_PER_TICK: u32 = 64;

/// Room time that has stood still for the order log is told as soon as it goes on, if it was so much, ...
const TELL_AFTER_MS: u64 = 1_000;
/// ... and every so often while it stands still.
const TELL_EVERY_MS: u64 = 5_000;

/// What one tick changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoomTicked {
    pub opened: bool,
    /// Passes end later than was told.
    pub passes_moved: bool,
    pub admitted: Vec<UserId>,
    pub lapsed: Vec<UserId>,
    /// The tick did as much as one may. There is perhaps more to do.
    pub more: bool,
}

/// The state of the promo, its stock and the order log that a tick acts on.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    pub starts_at: Timestamp,
    pub paused: bool,
    pub available: u32,
    pub unsettled: u32,
    pub log: LogState,
}

impl Room {
    /// Lets time act: numbers the lobby at the opening, lapses passes, calls places.
    pub fn tick(&mut self, now: Timestamp, conditions: Conditions) -> RoomTicked {
        let elapsed_ms = self.last_tick.map_or(0, |last| now.since(last));
        self.last_tick = Some(self.last_tick.map_or(now, |last| last.max(now)));
        self.open_if_due(now, conditions.starts_at);
        let opened = self.opened && !self.announced;
        self.announced = self.opened;
        let waits_for_log = !conditions.paused && conditions.log == LogState::Down;
        let passes_moved = self.passes_moved(waits_for_log, elapsed_ms);
        if conditions.paused || waits_for_log {
            self.stopped_ms += elapsed_ms;
            return RoomTicked { opened, passes_moved, ..RoomTicked::default() };
        }
        let mut steps = MAX_STEPS_PER_TICK;
        let lapsed = self.lapse(now, &mut steps);
        let admitted = if self.opened {
            self.bucket.fill(elapsed_ms, self.settings.admission.rate_per_s);
            self.call(now, conditions, &mut steps)
        } else {
            Vec::new()
        };
        RoomTicked { opened, passes_moved, admitted, lapsed, more: steps == 0 }
    }

    /// Whether passes end so much later than was told that it is time to tell. Nobody else does: a pause is told by the gate.
    fn passes_moved(&mut self, waits_for_log: bool, elapsed_ms: u64) -> bool {
        self.untold_ms += if waits_for_log { elapsed_ms } else { 0 };
        if self.untold_ms < if waits_for_log { TELL_EVERY_MS } else { TELL_AFTER_MS } {
            return false;
        }
        self.untold_ms = 0;
        self.passes.len() > 0
    }

    /// Takes back passes whose time is over, as long as there are `steps` left.
    fn lapse(&mut self, now: Timestamp, steps: &mut u32) -> Vec<UserId> {
        let room_now = self.room_time(now);
        let mut lapsed = Vec::new();
        while *steps > 0
            && let Some(user) = self.passes.take_expired(room_now)
        {
            *steps -= 1;
            self.changes += 1;
            lapsed.push(user);
        }
        lapsed
    }

    /// Gives passes to the next in line, as far as the log, the bucket, the bounds, the stock and the `steps` allow.
    fn call(&mut self, now: Timestamp, conditions: Conditions, steps: &mut u32) -> Vec<UserId> {
        let max_live = self.settings.admission.max_active.min(conditions.available) as usize;
        let mut admitted = Vec::new();
        if conditions.log != LogState::Ready || conditions.unsettled >= self.settings.max_unsettled {
            return admitted;
        }
        while *steps > 0 && self.passes.len() < max_live && self.bucket.holds_a_pass() {
            let next = self.next_place();
            if matches!(next, Next::Nobody) {
                break;
            }
            *steps -= 1;
            self.changes += 1;
            let Next::Shopper { number, user } = next else { continue };
            let place = self.places.get_mut(&user).expect("who is in line has a place");
            if now.since(place.seen) > self.settings.grace_ms {
                place.passed_over = true;
                self.away += 1;
                continue;
            }
            self.places.remove(&user);
            self.bucket.take_a_pass();
            let expires_at = self.room_time(now).plus_millis(self.settings.admission.pass_ttl_ms);
            self.passes.give(user, Pass { number, expires_at });
            admitted.push(user);
        }
        admitted
    }

    /// The next place to be called: who was passed over and came back, then the line.
    fn next_place(&mut self) -> Next {
        if let Some((number, user)) = self.returned.pop_first() {
            return Next::Shopper { number, user };
        }
        let Some(next) = self.line.pop_front() else { return Next::Nobody };
        self.head += 1;
        next.map_or(Next::GivenUp, |user| Next::Shopper { number: self.head, user })
    }
}

/// Who is called next.
enum Next {
    Shopper { number: u64, user: UserId },
    GivenUp,
    Nobody,
}
