//! One shopper of the crowd, without a socket: what is heard, and what it means. Pure.

use serde::Deserialize;

use crate::socket::{self, Kind};

/// Who waits, and where.
#[derive(Debug)]
pub struct Shopper {
    pub token: Box<str>,
    /// The number in the line, once it is known.
    place: Option<u64>,
    /// Says join again after coming back without a place.
    pub wants_place: bool,
    /// Has heard the frame that everybody listens for.
    has_heard: bool,
}

/// Something that the rest of the crowd should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// `place`: what became of the place that was known before.
    Welcomed { place: Place },
    /// The number came, for the first time or again.
    Placed { moved: bool },
    /// A `queue` frame. `awaited`: the one that everybody listens for, for the first time.
    Queue { awaited: bool },
    /// The server wants the shopper to come back after so long.
    Goodbye { after_ms: u64 },
    /// An `error` frame, by its code.
    Error(String),
}

/// What became of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// None was known before.
    New,
    Same,
    Moved,
    Gone,
}

/// What everybody listens for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    pub promo: i64,
    /// A `queue` frame with so many waiting.
    pub waiting: Option<i64>,
}

#[derive(Deserialize)]
struct Welcome {
    states: Vec<State>,
}

#[derive(Deserialize)]
struct State {
    promo_id: i64,
    number: Option<u64>,
}

impl Shopper {
    /// One who has not come yet.
    pub fn new(token: String) -> Self {
        Self { token: token.into_boxed_str(), place: None, wants_place: false, has_heard: false }
    }

    /// Whether the number in the line is known.
    pub fn has_place(&self) -> bool {
        self.place.is_some()
    }

    /// Listens for the next frame that everybody is to hear.
    pub fn listen(&mut self) {
        self.has_heard = false;
    }

    /// Takes in a text frame.
    pub fn hear(&mut self, text: &str, subject: Subject) -> Option<News> {
        match socket::kind(text) {
            Kind::Queue => {
                let is_it = subject.waiting.is_some() && socket::number(text, "waiting") == subject.waiting;
                let awaited = is_it && !self.has_heard;
                self.has_heard |= awaited;
                Some(News::Queue { awaited })
            }
            Kind::Welcome => {
                let welcome = serde_json::from_str(text).unwrap_or(Welcome { states: Vec::new() });
                let state = welcome.states.into_iter().find(|state| state.promo_id == subject.promo);
                let number = state.and_then(|state| state.number);
                let place = self.compare(number);
                self.place = number.or(self.place);
                Some(News::Welcomed { place })
            }
            Kind::State => {
                let state: State = serde_json::from_str(text).ok()?;
                let number = state.number.filter(|_| state.promo_id == subject.promo)?;
                let moved = self.compare(Some(number)) == Place::Moved;
                self.place = Some(number);
                Some(News::Placed { moved })
            }
            Kind::Bye => {
                let after_ms = socket::number(text, "reconnect_after_ms").unwrap_or(0);
                Some(News::Goodbye { after_ms: u64::try_from(after_ms).unwrap_or(0) })
            }
            Kind::Error => Some(News::Error(socket::field(text, "code").unwrap_or("unknown").to_owned())),
            _ => None,
        }
    }

    fn compare(&self, number: Option<u64>) -> Place {
        match (self.place, number) {
            (None, _) => Place::New,
            (Some(_), None) => Place::Gone,
            (Some(before), Some(now)) if before == now => Place::Same,
            (Some(_), Some(_)) => Place::Moved,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject = Subject { promo: 3, waiting: Some(7) };

    fn state(number: u64) -> String {
        format!(r#"{{"type":"state","promo_id":3,"phase":"queued","number":{number},"ahead":1}}"#)
    }

    fn welcome(states: &str) -> String {
        format!(
            r#"{{"type":"welcome","session_id":"x","user_id":1,"heartbeat_ms":20000,"states":[{states}]}}"#
        )
    }

    #[test]
    fn a_place_is_compared_with_what_it_was() {
        let mut shopper = Shopper::new("t".to_owned());
        assert_eq!(shopper.hear(&welcome(""), SUBJECT), Some(News::Welcomed { place: Place::New }));
        assert!(!shopper.has_place());
        assert_eq!(shopper.hear(&state(5), SUBJECT), Some(News::Placed { moved: false }));
        assert_eq!(shopper.hear(&welcome(&state(5)), SUBJECT), Some(News::Welcomed { place: Place::Same }));
        assert_eq!(shopper.hear(&welcome(""), SUBJECT), Some(News::Welcomed { place: Place::Gone }));
        assert_eq!(shopper.hear(&welcome(&state(6)), SUBJECT), Some(News::Welcomed { place: Place::Moved }));
        assert_eq!(shopper.hear(&state(5), SUBJECT), Some(News::Placed { moved: true }));
    }

    #[test]
    fn states_of_other_promos_say_nothing() {
        let mut shopper = Shopper::new("t".to_owned());
        let other = r#"{"type":"state","promo_id":4,"phase":"queued","number":9}"#;
        assert_eq!(shopper.hear(other, SUBJECT), None);
        assert_eq!(shopper.hear(&welcome(other), SUBJECT), Some(News::Welcomed { place: Place::New }));
        assert!(!shopper.has_place());
    }

    #[test]
    fn the_frame_for_everybody_is_awaited_once() {
        let mut shopper = Shopper::new("t".to_owned());
        let hears = |shopper: &mut Shopper, waiting: u32, subject| {
            let queue = format!(r#"{{"type":"queue","promo_id":3,"waiting":{waiting},"active":1}}"#);
            shopper.hear(&queue, subject) == Some(News::Queue { awaited: true })
        };
        assert!(!hears(&mut shopper, 6, SUBJECT));
        assert!(hears(&mut shopper, 7, SUBJECT));
        assert!(!hears(&mut shopper, 7, SUBJECT));
        shopper.listen();
        assert!(!hears(&mut shopper, 7, Subject { waiting: None, ..SUBJECT }));
        assert!(hears(&mut shopper, 7, SUBJECT));
    }

    #[test]
    fn a_goodbye_says_when_to_come_back() {
        let mut shopper = Shopper::new("t".to_owned());
        let bye = r#"{"type":"bye","reason":"going_away","reconnect_after_ms":1200}"#;
        assert_eq!(shopper.hear(bye, SUBJECT), Some(News::Goodbye { after_ms: 1200 }));
        let error = r#"{"type":"error","code":"room_full","message":"…","temporary":true}"#;
        assert_eq!(shopper.hear(error, SUBJECT), Some(News::Error("room_full".to_owned())));
    }
}
