//! A pool as one pure state machine: the ledger, and for a promo the waiting room in front of it.
//!
//! The two are one step apart on purpose: a reservation uses up a pass, and a pass is only given for a unit that is left.

use crate::{
    admission::{
        port::{LogState, RoomView, Ticked},
        room::{Conditions, Full, Room, Spot},
    },
    domain::{
        DrawKey, Gone, OrderStatus, Phase, PromoId, Reason, Standing, StandingReason, Timestamp, UserId,
    },
};

use super::{
    ledger::{LastOrder, Ledger, is_over},
    port::{Gate, Insufficient, Reservation, Reserved, Snapshot},
};

/// One pool's whole state.
#[derive(Debug)]
pub struct Pool {
    pub ledger: Ledger,
    pub room: Option<Room>,
}

impl Pool {
    /// Checks and deducts; uses up the shopper's pass if there is a waiting room.
    pub fn reserve(&mut self, order: Reservation) -> Reserved {
        // Between its ledger's opening and its room's a promo gives no passes, and sells to nobody without one.
        if self.room.is_none() && self.ledger.gate().is_some() {
            return Reserved::Refused(Reason::NotReady);
        }
        let user = order.user_id;
        let (has_pass, promised) = match &self.room {
            None => (true, 0),
            // One unit stands behind every live pass. Who orders several takes the others from what is promised to nobody.
            Some(room) => (room.has_pass(user, order.reserved_at), room.active().saturating_sub(1)),
        };
        let promised = u32::try_from(promised).unwrap_or(u32::MAX);
        let reserved = self.ledger.reserve(order, has_pass, promised);
        if let (Reserved::Held(_), Some(room)) = (&reserved, self.room.as_mut()) {
            room.take_pass(user);
        }
        reserved
    }

    /// Takes units out of the pool that nobody holds and that stand behind nobody's pass.
    pub fn withdraw(&mut self, units: u32) -> Result<(), Insufficient> {
        let free = self.ledger.available().saturating_sub(self.snapshot().holds);
        if units > free {
            return Err(Insufficient { available: free });
        }
        self.ledger.withdraw(units)
    }

    /// Gives the shopper a place, unless they have one, may not order any more, or the promo is over.
    pub fn join(&mut self, user: UserId, key: DrawKey, now: Timestamp) -> Result<(), Full> {
        match (self.room.as_mut(), self.ledger.gate()) {
            (Some(room), Some(gate))
                if !room.is_closed() && !is_over(gate, now) && self.ledger.may_order(user) =>
            {
                room.join(user, key, now, gate.starts_at)
            }
            _ => Ok(()),
        }
    }

    /// Lets the room of an earlier run go on in place of the fresh one.
    pub fn go_on(&mut self, mut saved: Room, now: Timestamp) {
        let (Some(fresh), Some(Gate { starts_at, .. })) = (&self.room, self.ledger.gate()) else { return };
        // Ids may be used again in another database: only the room of this very draw goes on.
        if saved.settings().draw != fresh.settings().draw {
            return;
        }
        let ledger = &self.ledger;
        let saved_at = saved.last_tick();
        let holds = |user| {
            let ordered_since = ledger.last_order(user).is_some_and(|order| Some(order.made_at) >= saved_at);
            ledger.may_order(user) && !ordered_since
        };
        saved.go_on(now, starts_at, fresh.settings(), ledger.available(), holds);
        self.room = Some(saved);
    }

    /// Lets time act on the waiting room.
    pub fn tick(&mut self, promo: PromoId, now: Timestamp, log: LogState) -> Ticked {
        let (Some(room), Some(gate)) = (self.room.as_mut(), self.ledger.gate()) else {
            return Ticked::default();
        };
        // Over once is over for good, even if the next clock to ask is behind.
        if room.is_closed() || is_over(gate, now) {
            let sent_home = room.close();
            let changed = sent_home
                .into_iter()
                .map(|user| self.gone(promo, user, StandingReason::Because(Reason::Ended)))
                .collect();
            return Ticked { changed, ..Ticked::default() };
        }
        let conditions = Conditions {
            starts_at: gate.starts_at,
            paused: gate.paused,
            available: self.ledger.available(),
            unsettled: self.ledger.unsettled(),
            log,
        };
        let ticked = room.tick(now, conditions);
        let mut changed: Vec<Standing> =
            ticked.admitted.iter().map(|user| self.standing(promo, *user)).collect();
        changed.extend(
            ticked
                .lapsed
                .into_iter()
                .map(|user| self.gone(promo, user, StandingReason::Gone(Gone::PassExpired))),
        );
        Ticked { opened: ticked.opened, passes_moved: ticked.passes_moved, changed, more: ticked.more }
    }

    /// Where the shopper stands: their place or pass, or else their latest order.
    pub fn standing(&self, promo: PromoId, user: UserId) -> Standing {
        let none = Standing::none(user, promo);
        match self.room.as_ref().and_then(|room| room.spot(user)) {
            Some(Spot::Lobby) => Standing { phase: Phase::Lobby, ..none },
            Some(Spot::Queued { number, ahead }) => {
                Standing { phase: Phase::Queued, number: Some(number), ahead: Some(ahead), ..none }
            }
            Some(Spot::Admitted { number, expires_at }) => Standing {
                phase: Phase::Admitted,
                number: Some(number),
                ahead: Some(0),
                pass_expires_at: Some(expires_at),
                ..none
            },
            None => match self.ledger.last_order(user) {
                Some(order) => with_order(&none, order),
                None if self.ledger.gate().is_some_and(|gate| gate.ended) => {
                    Standing { reason: Some(StandingReason::Because(Reason::Ended)), ..none }
                }
                None => none,
            },
        }
    }

    /// The standing of a shopper whose place has just gone, and why.
    fn gone(&self, promo: PromoId, user: UserId, why: StandingReason) -> Standing {
        let standing = self.standing(promo, user);
        let reason = (standing.phase == Phase::None).then_some(why);
        Standing { reason: reason.or(standing.reason), ..standing }
    }

    /// The pool's units.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            initial: self.ledger.initial(),
            available: self.ledger.available(),
            pending: self.ledger.pending_units(),
            sold: self.ledger.sold(),
            holds: self.room.as_ref().map_or(0, |room| u32::try_from(room.active()).unwrap_or(u32::MAX)),
            version: self.ledger.version(),
        }
    }

    /// What the room shows to everybody; `None` for a pool without one.
    pub fn view(&self) -> Option<RoomView> {
        let room = self.room.as_ref()?;
        Some(RoomView {
            epoch: self.ledger.epoch(),
            lobby: room.lobby(),
            head: room.head(),
            waiting: room.waiting(),
            active: room.active(),
            rate_per_s: room.rate_per_s(),
            paused: self.ledger.gate().is_some_and(|gate| gate.paused),
            available: self.ledger.available(),
            version: self.ledger.version(),
        })
    }
}

fn with_order(none: &Standing, order: LastOrder) -> Standing {
    let phase = match order.status {
        OrderStatus::Pending => Phase::Pending,
        OrderStatus::AwaitingPayment | OrderStatus::Paid => Phase::Confirmed,
        OrderStatus::Rejected => Phase::Rejected,
        OrderStatus::Cancelled | OrderStatus::Expired => Phase::None,
    };
    Standing {
        phase,
        order_id: Some(order.order_id),
        status: Some(order.status),
        reason: order.reason.map(StandingReason::Because),
        ..none.clone()
    }
}
