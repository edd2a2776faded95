//! Commands as calls that any engine can be given, and what engines answer.

use panicbuy::{
    admission::port::{LogState, Ticked},
    domain::{
        Admission, DrawKey, Epoch, ItemId, OrderId, PoolId, Price, Reason, RequestId, Standing, Timestamp,
        UserId, Verdict,
    },
    reservation::port::{Closed, Closing, Gate, Insufficient, Opening, Reservation, Reserved, Settled},
};
use uuid::Uuid;

use super::{super::history::Command, World};

/// One call of an engine.
#[derive(Clone, Debug)]
pub enum Call {
    Join(Vec<(UserId, DrawKey, Timestamp)>),
    Leave(UserId),
    Seen(Vec<UserId>, Timestamp),
    Tick(Timestamp, LogState),
    Reserve(Vec<Reservation>),
    DeferAnswer(OrderId),
    Logged(OrderId),
    Settle(Vec<(OrderId, Verdict)>),
    Close(OrderId, Closing),
    Deposit(u32),
    Withdraw(u32),
    Configure(Admission),
    SetGate(Gate),
    /// The ledger is built anew, and the room goes on.
    Open(Opening, Timestamp),
}

/// What an engine answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Nothing,
    /// `None`: the room is full.
    Joined(Vec<Option<Standing>>),
    Stands(Standing),
    Ticked(Ticked),
    Reserved(Vec<Reserved>),
    Deferred(bool),
    Settled(Vec<Settled>),
    Closed(Closed),
    Withdrawn(Result<(), Insufficient>),
}

impl World {
    /// What the command is to an engine in this world; `None` if it means nothing here.
    pub fn call(&mut self, command: &Command) -> Option<Call> {
        let (now, gate) = (self.now, self.gate);
        let joiner = |user: i64| (UserId(user), DrawKey(user.unsigned_abs() * 7 % 5), now);
        Some(match *command {
            Command::Join { user } => Call::Join(vec![joiner(user)]),
            Command::JoinBoth { first, second } => Call::Join(vec![joiner(first), joiner(second)]),
            Command::Leave { user } => Call::Leave(UserId(user)),
            Command::Seen { user } => Call::Seen(vec![UserId(user), UserId(user % 8 + 1)], now),
            Command::Time { ms } => {
                self.skip_time(ms);
                Call::Tick(self.now, self.log)
            }
            Command::Log { state } => {
                self.log = state;
                return None;
            }
            Command::ClockBack { ms } => {
                self.now = self.now.minus_millis(ms);
                return None;
            }
            Command::Order { user, request, quantity } => {
                Call::Reserve(vec![self.wish(user, request, quantity)])
            }
            Command::Orders { ref wishes } => Call::Reserve(
                wishes.iter().map(|&(user, request, quantity)| self.wish(user, request, quantity)).collect(),
            ),
            Command::Defer { nth } => Call::DeferAnswer(self.nth(nth)?),
            Command::Logged { nth } => Call::Logged(self.nth(nth)?),
            Command::Settle { nth, post } => Call::Settle(vec![(self.nth(nth)?, self.verdict(post))]),
            Command::SettleAll { post } => {
                let verdict = self.verdict(post);
                Call::Settle(self.orders.iter().map(|order| (order.order_id, verdict)).collect())
            }
            Command::Close { nth, how } => Call::Close(self.nth(nth)?, how),
            Command::Deposit { units } => Call::Deposit(units),
            Command::Withdraw { units } => Call::Withdraw(units),
            Command::Configure { rate_per_s, max_active, pass_ttl_ms } => {
                Call::Configure(Admission { rate_per_s, max_active, pass_ttl_ms })
            }
            Command::Pause => Call::SetGate(Gate { paused: true, ..gate }),
            Command::Resume => Call::SetGate(Gate { paused: false, ..gate }),
            Command::End => Call::SetGate(Gate { ended: true, ..gate }),
            Command::Rebuild => {
                let epoch = Epoch(self.pool.ledger.epoch().0 + 1);
                Call::Open(self.opening(epoch), now)
            }
        })
    }

    fn nth(&self, nth: usize) -> Option<OrderId> {
        self.orders.get(nth).map(|order| order.order_id)
    }

    fn verdict(&self, post: bool) -> Verdict {
        if post {
            Verdict::Posted { pay_before: self.now.plus_millis(60_000) }
        } else {
            Verdict::Void { reason: Reason::SoldOut }
        }
    }

    fn wish(&mut self, user: i64, request: u8, quantity: u32) -> Reservation {
        self.made += 1;
        Reservation {
            order_id: OrderId(Uuid::from_u128(u128::from(self.made))),
            request_id: RequestId(Uuid::from_u128(u128::from(request))),
            user_id: UserId(user),
            pool: PoolId::Promo(self.promo),
            item_id: ItemId(1),
            quantity,
            price: Price(100),
            payment_window_ms: 60_000,
            reserved_at: self.now,
            epoch: Epoch::default(),
        }
    }
}
