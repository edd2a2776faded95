//! The pure waiting room of one promo: lobby, draw, line and passes. What time does to it is [`tick`].
//!
//! This is the executable specification of admission. No I/O and no clock: time comes in with each command. Numbers count
//! from 1 without gaps and never change, `head` only grows, and there are never more live passes than units left.

use std::collections::{BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::domain::{DrawKey, Timestamp, UserId};

use super::{bucket::Bucket, passes::Passes, port::RoomSettings};

mod tick;

pub use tick::{Conditions, RoomTicked};

/// The waiting room of one promo.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Room {
    settings: RoomSettings,
    opened: bool,
    /// Whether a tick has reported the opening.
    announced: bool,
    /// Who joined before the opening, in the order of the draw.
    lobby: BTreeSet<(DrawKey, UserId)>,
    /// The keys of the numbered lobby, ascending: number 1 first.
    drawn: Vec<DrawKey>,
    /// Everybody who holds a place and no pass.
    places: HashMap<UserId, Place>,
    /// Numbers from `head + 1` on, in order. `None`: the place was given up.
    line: VecDeque<Option<UserId>>,
    head: u64,
    /// Numbers that were called while their shopper was away, and whose shopper has come back: called before the line.
    returned: BTreeSet<(u64, UserId)>,
    /// How many places were passed over and are still away.
    away: u64,
    passes: Passes,
    bucket: Bucket,
    /// Room time runs `stopped_ms` behind real time: it stands still while the promo is paused or the order log takes no
    /// orders, and passes with it.
    stopped_ms: u64,
    /// How much of that is the order log's doing, and not told yet.
    #[serde(default)]
    untold_ms: u64,
    last_tick: Option<Timestamp>,
    /// The promo is over, and everybody was sent home.
    #[serde(default)]
    closed: bool,
    /// Grows with every change of who holds which place or pass.
    changes: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Place {
    key: DrawKey,
    /// `None` until the opening.
    number: Option<u64>,
    seen: Timestamp,
    passed_over: bool,
}

/// Where a shopper stands in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    Lobby,
    Queued { number: u64, ahead: u64 },
    Admitted { number: u64, expires_at: Timestamp },
}

/// The room holds as many places as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the waiting room is full")]
pub struct Full;

impl Room {
    pub fn new(settings: RoomSettings) -> Self {
        Self {
            settings,
            opened: false,
            announced: false,
            lobby: BTreeSet::new(),
            drawn: Vec::new(),
            places: HashMap::new(),
            line: VecDeque::new(),
            head: 0,
            returned: BTreeSet::new(),
            away: 0,
            passes: Passes::default(),
            bucket: Bucket::default(),
            stopped_ms: 0,
            untold_ms: 0,
            last_tick: None,
            closed: false,
            changes: 0,
        }
    }

    /// Changes rate, bound and pass time. Passes already given keep their time.
    pub fn configure(&mut self, admission: crate::domain::Admission) {
        self.settings.admission = admission;
    }

    /// Gives the shopper a place unless they have one or hold a pass. `key` decides the order of the lobby, which ends
    /// at `starts_at` to the millisecond: from then on the seed is public, and a key could be chosen.
    pub fn join(
        &mut self,
        user: UserId,
        key: DrawKey,
        now: Timestamp,
        starts_at: Timestamp,
    ) -> Result<(), Full> {
        self.open_if_due(now, starts_at);
        if self.passes.of(user).is_some() {
            return Ok(());
        }
        if self.places.contains_key(&user) {
            self.seen(user, now);
            return Ok(());
        }
        let max_places = self.settings.max_places as usize;
        // The line is bounded too, or joining and leaving in turn would grow it without end.
        if self.places.len() >= max_places || self.line.len() >= max_places.saturating_mul(2) {
            return Err(Full);
        }
        let number = self.opened.then(|| {
            self.line.push_back(Some(user));
            self.head + self.line.len() as u64
        });
        if number.is_none() {
            self.lobby.insert((key, user));
        }
        self.places.insert(user, Place { key, number, seen: now, passed_over: false });
        self.changes += 1;
        Ok(())
    }

    /// Gives up the shopper's place or pass. `false`: they had neither.
    pub fn leave(&mut self, user: UserId) -> bool {
        if self.take_pass(user) {
            return true;
        }
        let Some(place) = self.places.remove(&user) else { return false };
        self.changes += 1;
        match place.number {
            None => {
                self.lobby.remove(&(place.key, user));
            }
            Some(number) if number > self.head => {
                let index = usize::try_from(number - self.head - 1).expect("the line fits in memory");
                self.line[index] = None;
            }
            Some(number) => {
                if place.passed_over {
                    self.away -= 1;
                }
                self.returned.remove(&(number, user));
            }
        }
        true
    }

    /// Notes that the shopper is connected. A place that was passed over meanwhile is claimed again.
    pub fn seen(&mut self, user: UserId, now: Timestamp) {
        if let Some(place) = self.places.get_mut(&user) {
            place.seen = place.seen.max(now);
            if place.passed_over {
                place.passed_over = false;
                self.away -= 1;
                self.changes += 1;
                self.returned.insert((place.number.expect("only numbered places are called"), user));
            }
        }
    }

    /// Numbers the lobby in ascending order of its keys, once the promo has started.
    fn open_if_due(&mut self, now: Timestamp, starts_at: Timestamp) {
        if self.opened || now < starts_at {
            return;
        }
        self.opened = true;
        self.changes += 1;
        for (key, user) in std::mem::take(&mut self.lobby) {
            self.line.push_back(Some(user));
            self.drawn.push(key);
            let number = self.line.len() as u64;
            if let Some(place) = self.places.get_mut(&user) {
                place.number = Some(number);
            }
        }
    }

    fn room_time(&self, now: Timestamp) -> Timestamp {
        now.minus_millis(self.stopped_ms)
    }

    /// Whether the shopper holds a pass that is live at `now`.
    pub fn has_pass(&self, user: UserId, now: Timestamp) -> bool {
        self.passes.of(user).is_some_and(|pass| pass.expires_at > self.room_time(now))
    }

    /// Uses up the shopper's pass. `false`: they hold none.
    pub fn take_pass(&mut self, user: UserId) -> bool {
        let held_one = self.passes.take(user).is_some();
        self.changes += u64::from(held_one);
        held_one
    }

    /// Sends everybody home when the promo is over. The draw and `head` stay to be looked at.
    /// Returns who held a place or a pass, by id.
    pub fn close(&mut self) -> Vec<UserId> {
        let mut sent_home: Vec<UserId> = self.places.drain().map(|(user, _)| user).collect();
        sent_home.extend(std::mem::take(&mut self.passes).users());
        sent_home.sort_unstable();
        self.changes += 1;
        self.opened = true;
        self.closed = true;
        self.lobby.clear();
        self.line.clear();
        self.returned.clear();
        self.away = 0;
        sent_home
    }

    /// Whether the promo is over, and everybody was sent home.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Goes on at `now` after a time in which nobody was served: room time stood still, and everybody has the whole grace
    /// time to come back. Places and passes of shoppers of whom `holds` is false are gone, and there are no more passes
    /// than `available` units: the last ones called go back to the head of the line. If the room opened after it was
    /// saved, the lobby is numbered as it was then, with those who are gone: their numbers were given out.
    pub fn go_on(
        &mut self,
        now: Timestamp,
        starts_at: Timestamp,
        settings: RoomSettings,
        available: u32,
        holds: impl Fn(UserId) -> bool,
    ) {
        self.settings = settings;
        self.stopped_ms += self.last_tick.map_or(0, |last| now.since(last));
        self.last_tick = Some(now);
        self.open_if_due(now, starts_at);
        let all: Vec<UserId> = self.places.keys().copied().chain(self.passes.users()).collect();
        for user in all.into_iter().filter(|user| !holds(*user)) {
            self.leave(user);
        }
        for place in self.places.values_mut() {
            place.seen = place.seen.max(now);
        }
        for (number, user) in self.passes.by_number().into_iter().skip(available as usize) {
            self.take_pass(user);
            // The key only matters before the opening.
            let place = Place { key: DrawKey(0), number: Some(number), seen: now, passed_over: false };
            self.places.insert(user, place);
            self.returned.insert((number, user));
        }
    }

    /// Grows with every change of who holds which place or pass.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Where the shopper stands, if they hold a place or a pass.
    pub fn spot(&self, user: UserId) -> Option<Spot> {
        if let Some(pass) = self.passes.of(user) {
            let expires_at = pass.expires_at.plus_millis(self.stopped_ms);
            return Some(Spot::Admitted { number: pass.number, expires_at });
        }
        let place = self.places.get(&user)?;
        Some(match place.number {
            None => Spot::Lobby,
            Some(number) => Spot::Queued { number, ahead: number.saturating_sub(self.head + 1) },
        })
    }

    /// Who joined before the start. Does not change after the opening.
    pub fn lobby(&self) -> u64 {
        if self.opened { self.drawn.len() as u64 } else { self.lobby.len() as u64 }
    }

    /// Places called so far.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Shoppers who wait to be called; who was passed over and is still away does not.
    pub fn waiting(&self) -> u64 {
        self.places.len() as u64 - self.away
    }

    /// Live passes.
    pub fn active(&self) -> u64 {
        self.passes.len() as u64
    }

    pub fn settings(&self) -> RoomSettings {
        self.settings
    }

    /// When time last acted here.
    pub fn last_tick(&self) -> Option<Timestamp> {
        self.last_tick
    }

    pub fn rate_per_s(&self) -> u32 {
        self.settings.admission.rate_per_s
    }

    /// The numbered lobby's keys from place `after + 1` on.
    pub fn draw(&self, after: u64, limit: usize) -> Vec<DrawKey> {
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        self.drawn.iter().skip(after).take(limit).copied().collect()
    }
}
