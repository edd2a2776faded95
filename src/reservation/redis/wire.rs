//! Between the scripts' words and the ports' types.

use fred::types::Value;

use super::{
    super::port::{OpeningOrder, Reservation, Reserved, Settled},
    call::{Answer, nonsense, user_word, word},
};
use crate::{
    admission::port::RoomView,
    domain::{
        OrderId, OrderStatus, Phase, PoolId, PromoId, Reason, Standing, StandingReason, Timestamp, UserId,
        Verdict,
    },
    reservation::port::EngineError,
};

/// The words of one order in `reserve.lua`.
pub(super) fn order_words(order: &Reservation) -> Result<[Value; 7], EngineError> {
    let text = serde_json::to_string(order).map_err(|error| EngineError::Unavailable(error.to_string()))?;
    Ok([
        word(order.order_id),
        word(order.request_id),
        word(user_word(order.user_id)),
        word(order.quantity),
        word(order.reserved_at.as_millis()),
        word(order.price.0),
        word(text),
    ])
}

/// The answer to one order.
pub(super) fn reserved(words: &[String], order: Reservation) -> Result<Reserved, EngineError> {
    let [kind, first, second] = words else { return Err(nonsense(&words.concat())) };
    match kind.as_str() {
        "held" => Ok(Reserved::Held(order)),
        "repeated" => {
            let order_id = OrderId(first.parse().map_err(|_| nonsense(first))?);
            if order_id == order.order_id {
                // The same call once more after a lost answer: it was held then.
                return Ok(Reserved::Held(order));
            }
            Ok(Reserved::Repeated { order_id, unlogged: optional_reservation(second)? })
        }
        "refused" => Reason::parse(first).map(Reserved::Refused).ok_or_else(|| nonsense(first)),
        other => Err(nonsense(other)),
    }
}

/// The words of one order in `open_load.lua`.
pub(super) fn opening_words(order: &OpeningOrder) -> [Value; 7] {
    [
        word(order.order_id),
        word(order.request_id),
        word(user_word(order.user_id)),
        word(order.quantity),
        word(order.status.as_str()),
        word(order.reason.map_or("-", Reason::as_str)),
        word(order.created_at.as_millis()),
    ]
}

/// The words of one verdict in `settle.lua`.
pub(super) fn verdict_words((order, verdict): &(OrderId, Verdict)) -> [Value; 3] {
    match verdict {
        Verdict::Posted { pay_before } => [word(order), word("posted"), word(pay_before.as_millis())],
        Verdict::Void { reason } => [word(order), word("void"), word(reason.as_str())],
    }
}

/// One verdict that was applied just now, of `verdicts`.
pub(super) fn settled(words: &[String], verdicts: &[(OrderId, Verdict)]) -> Result<Settled, EngineError> {
    let [place, text, deferred] = words else { return Err(nonsense(&words.concat())) };
    let verdict = place.parse::<usize>().ok().and_then(|place| verdicts.get(place));
    let (_, verdict) = verdict.ok_or_else(|| nonsense(place))?;
    Ok(Settled { reservation: reservation(text)?, verdict: *verdict, answer_deferred: deferred == "1" })
}

pub(super) fn reservation(text: &str) -> Result<Reservation, EngineError> {
    serde_json::from_str(text).map_err(|_| nonsense(text))
}

/// A reservation, or nothing for no text.
pub(super) fn optional_reservation(text: &str) -> Result<Option<Reservation>, EngineError> {
    if text.is_empty() { Ok(None) } else { reservation(text).map(Some) }
}

/// A promo without a room is not ready.
pub(super) fn with_room(pool: PoolId, answer: Answer) -> Result<Answer, EngineError> {
    if answer.is("no_room") { Err(EngineError::NotReady(pool)) } else { Ok(answer) }
}

/// What `view.lua` saw.
pub(super) fn room_view(pool: PoolId, answer: Answer) -> Result<RoomView, EngineError> {
    let answer = with_room(pool, answer)?;
    Ok(RoomView {
        epoch: answer.epoch,
        lobby: answer.parse(0)?,
        head: answer.parse(1)?,
        waiting: answer.parse(2)?,
        active: answer.parse(3)?,
        rate_per_s: answer.parse(4)?,
        paused: answer.parse::<u8>(5)? == 1,
        available: answer.parse(6)?,
        version: answer.parse(7)?,
    })
}

/// A standing, in the form in which the news has it.
pub(super) fn standing(promo: PromoId, text: &str) -> Result<Standing, EngineError> {
    type Fields = (
        String,
        i64,
        Phase,
        Option<u64>,
        Option<u64>,
        Option<i64>,
        Option<OrderId>,
        Option<OrderStatus>,
        Option<StandingReason>,
    );
    let fields: Fields = serde_json::from_str(text).map_err(|_| nonsense(text))?;
    let (_, user, phase, number, ahead, expires_at, order_id, status, reason) = fields;
    Ok(Standing {
        user_id: UserId(user),
        promo_id: promo,
        phase,
        number,
        ahead,
        pass_expires_at: expires_at.map(Timestamp::from_millis),
        order_id,
        status,
        reason,
    })
}
