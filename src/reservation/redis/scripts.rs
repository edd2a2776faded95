//! The scripts, each with the shared parts it needs in front of it.

use crate::redis::Script;

macro_rules! script {
    ($name:ident, $verb:literal: $($part:literal),+) => {
        pub static $name: Script = Script::new($verb, &[$(include_str!($part)),+]);
    };
}

/// A script that acts on a ledger that must be ready.
macro_rules! of_ledger {
    ($name:ident, $verb:literal: $($part:literal),+) => {
        script!($name, $verb: "../scripts/prelude.lua", "../scripts/ledger.lua", $($part),+);
    };
}

/// A script that acts on a ledger that must be ready, and knows the waiting room.
macro_rules! of_pool {
    ($name:ident, $verb:literal: $($part:literal),+) => {
        of_ledger!($name, $verb: "../../admission/scripts/room.lua", $($part),+);
    };
}

script!(OPEN_BEGIN, "open_begin": "../scripts/prelude.lua", "../scripts/open_begin.lua");
script!(OPEN_LOAD, "open_load": "../scripts/prelude.lua", "../scripts/building.lua", "../scripts/open_load.lua");
script!(OPEN_FINISH, "open_finish": "../scripts/prelude.lua", "../scripts/building.lua", "../scripts/open_finish.lua");

of_ledger!(CHECK, "check": "../scripts/check.lua");
of_ledger!(SET_GATE, "set_gate": "../scripts/set_gate.lua");
of_ledger!(FIND, "find": "../scripts/find.lua");
of_ledger!(PENDING, "pending": "../scripts/pending.lua");
of_ledger!(OVERDUE, "overdue": "../scripts/overdue.lua");
of_ledger!(LOGGED, "logged": "../scripts/logged.lua");
of_ledger!(DEFER_ANSWER, "defer_answer": "../scripts/defer_answer.lua");
of_ledger!(DEPOSIT, "deposit": "../scripts/operations.lua", "../scripts/deposit.lua");
of_pool!(WITHDRAW, "withdraw": "../scripts/operations.lua", "../scripts/withdraw.lua");

of_pool!(RESERVE, "reserve": "../scripts/reserve.lua");
of_pool!(SETTLE, "settle": "../scripts/settle.lua");
of_pool!(CLOSE, "close": "../scripts/close.lua");
of_pool!(SNAPSHOT, "snapshot": "../scripts/snapshot.lua");

of_pool!(OPEN_ROOM, "open_room": "../../admission/scripts/open_room.lua");
of_pool!(RESUME_ROOM, "resume_room": "../../admission/scripts/resume_room.lua");
of_pool!(CONFIGURE, "configure": "../../admission/scripts/configure.lua");
of_pool!(JOIN, "join": "../../admission/scripts/join.lua");
of_pool!(LEAVE, "leave": "../../admission/scripts/leave.lua");
of_pool!(SEEN, "seen": "../../admission/scripts/seen.lua");
of_pool!(TICK, "tick": "../../admission/scripts/tick.lua");
of_pool!(STANDINGS, "standings": "../../admission/scripts/standings.lua");
of_pool!(VIEW, "view": "../../admission/scripts/view.lua");
of_pool!(DRAW, "draw": "../../admission/scripts/draw.lua");

/// Not of a pool: see [`super::index`].
pub static NOTE: Script = Script::new("note", &[include_str!("../scripts/note.lua")]);
pub static FORGET: Script = Script::new("forget", &[include_str!("../scripts/forget.lua")]);
pub static FORGET_BUSY: Script = Script::new("forget_busy", &[include_str!("../scripts/forget_busy.lua")]);
