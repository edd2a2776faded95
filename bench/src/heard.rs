//! What one shopper hears about one promo. Pure: frames go in, facts come out; the auditor judges them.

use std::time::Instant;

use uuid::Uuid;

use crate::socket::{self, Kind};

/// The facts of one shopper in one promo.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub user_id: i64,
    pub promo_id: i64,
    /// Told to be in the lobby: the place comes from the draw.
    pub in_lobby: bool,
    /// The place.
    pub number: Option<u64>,
    /// Later frames gave another place.
    pub renumbered: bool,
    /// When the pass ends, in milliseconds since 1970 by the server's clock: passes of one promo live equally long.
    pub pass_ends_ms: Option<i64>,
    /// When the pass was heard of.
    pub admitted_at: Option<Instant>,
    /// The one order: when it was meant to be sent, and when it was.
    pub asked: Option<Asked>,
    /// Orders that were accepted, and when the first one was.
    pub accepted: Vec<Uuid>,
    pub accepted_at: Option<Instant>,
    /// Why the order was refused.
    pub refused: Vec<String>,
    /// Outcomes, and when the first one came.
    pub outcomes: Vec<Outcome>,
    pub outcome_at: Option<Instant>,
    /// The connection was lost, and why.
    pub lost: Option<String>,
}

/// An order that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub request_id: Uuid,
    pub intended: Instant,
    pub sent: Instant,
}

/// What became of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub order_id: Uuid,
    pub status: String,
    pub price_minor: Option<i64>,
}

impl Heard {
    /// Nothing yet.
    pub fn about(user_id: i64, promo_id: i64) -> Self {
        Self { user_id, promo_id, ..Self::default() }
    }

    /// Takes in a frame that came at this moment.
    pub fn note(&mut self, frame: &str, now: Instant) {
        match socket::kind(frame) {
            Kind::State => self.note_state(frame, now),
            Kind::Accepted if self.is_answer(frame) => {
                self.accepted_at.get_or_insert(now);
                self.accepted.push(order_id(frame));
            }
            Kind::Refused if self.is_answer(frame) => {
                self.refused.push(socket::field(frame, "reason").unwrap_or_default().to_owned());
            }
            Kind::Outcome if socket::number(frame, "promo_id") == Some(self.promo_id) => {
                self.outcome_at.get_or_insert(now);
                self.outcomes.push(Outcome {
                    order_id: order_id(frame),
                    status: socket::field(frame, "status").unwrap_or_default().to_owned(),
                    price_minor: socket::number(frame, "price_minor"),
                });
            }
            _ => {}
        }
    }

    /// Whether the place or the pass of this promo has been told.
    pub fn has_place(&self) -> bool {
        self.in_lobby || self.number.is_some() || self.admitted_at.is_some()
    }

    /// Whether nothing more is to come.
    pub fn is_answered(&self) -> bool {
        !self.outcomes.is_empty() || !self.refused.is_empty() || self.lost.is_some()
    }

    fn note_state(&mut self, frame: &str, now: Instant) {
        if socket::number(frame, "promo_id") != Some(self.promo_id) {
            return;
        }
        if let Some(number) = socket::number(frame, "number").and_then(|number| u64::try_from(number).ok()) {
            self.renumbered |= self.number.is_some_and(|before| before != number);
            self.number = Some(number);
        }
        match socket::field(frame, "phase") {
            Some("lobby") => self.in_lobby = true,
            Some("admitted") if self.admitted_at.is_none() => {
                self.admitted_at = Some(now);
                let ends = socket::field(frame, "pass_expires_at").and_then(|text| text.parse().ok());
                self.pass_ends_ms = ends.map(|at: jiff::Timestamp| at.as_millisecond());
            }
            _ => {}
        }
    }

    fn is_answer(&self, frame: &str) -> bool {
        let Some(asked) = self.asked else { return false };
        socket::field(frame, "request_id").and_then(|id| id.parse().ok()) == Some(asked.request_id)
    }
}

/// An id that cannot be read is the nil id, which no order has: the auditor will not find it.
fn order_id(frame: &str) -> Uuid {
    socket::field(frame, "order_id").and_then(|id| id.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Uuid = Uuid::from_u128(1);
    const ORDER: &str = "0193f0a0-0000-7000-8000-000000000001";

    fn told(frames: &[&str]) -> Heard {
        let now = Instant::now();
        let mut heard = Heard::about(7, 3);
        heard.asked = Some(Asked { request_id: REQUEST, intended: now, sent: now });
        for frame in frames {
            heard.note(frame, now);
        }
        heard
    }

    #[test]
    fn a_whole_visit_is_noted() {
        let accepted = format!(r#"{{"type":"accepted","request_id":"{REQUEST}","order_id":"{ORDER}"}}"#);
        let outcome = format!(
            r#"{{"type":"outcome","order_id":"{ORDER}","promo_id":3,"status":"awaiting_payment","price_minor":1999}}"#
        );
        let heard = told(&[
            r#"{"type":"state","promo_id":3,"phase":"lobby"}"#,
            r#"{"type":"state","promo_id":3,"phase":"queued","number":5,"ahead":4}"#,
            r#"{"type":"state","promo_id":3,"phase":"admitted","number":5,"pass_expires_at":"1970-01-01T00:00:01.500Z"}"#,
            &accepted,
            &outcome,
        ]);
        assert!(heard.in_lobby && !heard.renumbered && heard.is_answered());
        assert_eq!(heard.number, Some(5));
        assert_eq!(heard.pass_ends_ms, Some(1500));
        assert_eq!(heard.accepted, [ORDER.parse::<Uuid>().unwrap()]);
        assert_eq!(heard.outcomes[0].price_minor, Some(1999));
    }

    #[test]
    fn other_promos_and_other_requests_are_none_of_its_business() {
        let heard = told(&[
            r#"{"type":"state","promo_id":30,"phase":"admitted","number":5}"#,
            r#"{"type":"refused","request_id":"00000000-0000-0000-0000-000000000002","reason":"no_pass"}"#,
            r#"{"type":"queue","promo_id":3,"head":9}"#,
        ]);
        assert!(!heard.has_place() && !heard.is_answered());
    }

    #[test]
    fn a_place_that_changes_is_noted() {
        let heard = told(&[
            r#"{"type":"state","promo_id":3,"phase":"queued","number":5}"#,
            r#"{"type":"state","promo_id":3,"phase":"queued","number":6}"#,
        ]);
        assert!(heard.renumbered);
    }
}
