//! Generated histories: the commands a promo may see, biased to few shoppers and little stock.

use panicbuy::{admission::port::LogState, domain::UserId, reservation::port::Closing};
use proptest::prelude::*;

const USERS: i64 = 8;

/// One thing that may happen to a promo.
#[derive(Clone, Debug)]
pub enum Command {
    Join {
        user: i64,
    },
    /// Two at the same instant.
    JoinBoth {
        first: i64,
        second: i64,
    },
    Leave {
        user: i64,
    },
    Seen {
        user: i64,
    },
    /// Time passes, and the room ticks.
    Time {
        ms: u64,
    },
    /// The order log is so from now on.
    Log {
        state: LogState,
    },
    /// The next command comes from a node whose clock is behind.
    ClockBack {
        ms: u64,
    },
    Order {
        user: i64,
        request: u8,
        quantity: u32,
    },
    /// Several shoppers at the same instant.
    Orders {
        wishes: Vec<(i64, u8, u32)>,
    },
    /// The log is slow with the n-th order ever held.
    Defer {
        nth: usize,
    },
    Logged {
        nth: usize,
    },
    /// The writer's verdict on the n-th order ever held, possibly again.
    Settle {
        nth: usize,
        post: bool,
    },
    /// One verdict on all orders ever held.
    SettleAll {
        post: bool,
    },
    Close {
        nth: usize,
        how: Closing,
    },
    Deposit {
        units: u32,
    },
    Withdraw {
        units: u32,
    },
    Configure {
        rate_per_s: u32,
        max_active: u32,
        pass_ttl_ms: u64,
    },
    Pause,
    Resume,
    End,
    /// The ledger is lost with all unsettled orders, and built anew; the room goes on.
    Rebuild,
}

/// Histories of at most `length` commands.
pub fn commands(length: usize) -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec(command(), 1..length)
}

/// Histories in which ledgers are lost.
pub fn commands_and_losses(length: usize) -> impl Strategy<Value = Vec<Command>> {
    prop::collection::vec(prop_oneof![20 => command(), 1 => Just(Command::Rebuild)], 1..length)
}

fn command() -> impl Strategy<Value = Command> {
    let user = || 1..=USERS;
    let nth = || 0_usize..8;
    let wish = (user(), 0_u8..3, 1_u32..3);
    let how = prop_oneof![Just(Closing::Paid), Just(Closing::Cancelled), Just(Closing::Expired)];
    let shoppers = prop_oneof![
        6 => user().prop_map(|user| Command::Join { user }),
        1 => (user(), user()).prop_map(|(first, second)| Command::JoinBoth { first, second }),
        2 => user().prop_map(|user| Command::Leave { user }),
        2 => user().prop_map(|user| Command::Seen { user }),
        10 => wish.clone().prop_map(|(user, request, quantity)| Command::Order { user, request, quantity }),
        2 => prop::collection::vec(wish, 2..5).prop_map(|wishes| Command::Orders { wishes }),
    ];
    let system = prop_oneof![
        8 => prop_oneof![Just(50_u64), Just(400), Just(1_500), Just(6_000), Just(40_000)]
            .prop_map(|ms| Command::Time { ms }),
        2 => prop_oneof![Just(LogState::Ready), Just(LogState::Behind), Just(LogState::Down)]
            .prop_map(|state| Command::Log { state }),
        1 => (1_u64..6).prop_map(|ms| Command::ClockBack { ms }),
        1 => nth().prop_map(|nth| Command::Defer { nth }),
        2 => nth().prop_map(|nth| Command::Logged { nth }),
        5 => (nth(), prop::bool::weighted(0.8)).prop_map(|(nth, post)| Command::Settle { nth, post }),
        1 => any::<bool>().prop_map(|post| Command::SettleAll { post }),
        4 => (nth(), how).prop_map(|(nth, how)| Command::Close { nth, how }),
    ];
    let operators = prop_oneof![
        2 => (1_u32..3).prop_map(|units| Command::Deposit { units }),
        2 => (1_u32..5).prop_map(|units| Command::Withdraw { units }),
        2 => (1_u32..4, 1_u32..5, 1_u64..9_000).prop_map(|(rate_per_s, max_active, pass_ttl_ms)| {
            Command::Configure { rate_per_s, max_active, pass_ttl_ms }
        }),
        2 => Just(Command::Pause),
        4 => Just(Command::Resume),
        1 => prop::bool::weighted(0.2).prop_map(|end| if end { Command::End } else { Command::Resume }),
    ];
    prop_oneof![23 => shoppers, 22 => system, 4 => operators]
}

/// Everybody who may appear in a history.
pub fn users() -> impl Iterator<Item = UserId> {
    (1..=USERS).map(UserId)
}
