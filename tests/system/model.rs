//! The engine on Redis answers as the pure machine does: generated histories are given to both, under the same epoch, and
//! every answer and everything that can be asked for must be the same. Time is generated, not real.
//!
//! A failure prints the shortest history that shows the difference; its seed is kept beside this file.

mod redis;

use std::{fmt::Debug, sync::Arc};

use panicbuy::{
    admission::port::{LogState, WaitingRooms},
    domain::{Epoch, PoolId},
    reservation::{
        port::{Reservations, WithdrawError},
        redis::{RedisEngine, RedisEngineSettings},
    },
};
use proptest::{
    prelude::*,
    test_runner::{FileFailurePersistence, TestRunner},
};

use self::redis::{KnownEpochs, Shop};
use crate::machines::{
    history::{Command, commands_and_losses, users},
    world::{Call, Look, Said, World},
};

/// Short, so that histories see requests forgotten.
const REQUEST_MEMORY_MS: u64 = 20_000;
/// Fewer than there are shoppers.
const MAX_PLACES: u32 = 6;
/// Histories in a run, each of up to this many commands.
const HISTORIES: u32 = 200;
const COMMANDS: usize = 60;

/// The same promo in Redis.
struct Mirror {
    engine: RedisEngine,
    epochs: Arc<KnownEpochs>,
    shop: Shop,
    pool: PoolId,
}

impl Mirror {
    async fn open(world: &World) -> Self {
        let shop = Shop::open().await;
        let epochs = Arc::new(KnownEpochs::default());
        let settings =
            RedisEngineSettings { request_memory_ms: REQUEST_MEMORY_MS, ..RedisEngineSettings::default() };
        let engine = RedisEngine::new(shop.redis.clone(), epochs.clone(), &settings);
        let pool = PoolId::Promo(world.promo);
        let mirror = Self { engine, epochs, shop, pool };
        mirror.epochs.set(pool, Epoch(1));
        mirror.engine.open(pool, world.opening(Epoch(1))).await.unwrap();
        mirror.engine.open_room_at(world.promo, world.settings, world.now()).await.unwrap();
        mirror
    }

    async fn perform(&self, world: &World, call: &Call) -> Said {
        let (engine, pool, promo) = (&self.engine, self.pool, world.promo);
        match call {
            Call::Join(joiners) => Said::Joined(engine.join_together(promo, joiners).await.unwrap()),
            Call::Leave(user) => Said::Stands(engine.leave(promo, *user).await.unwrap()),
            Call::Seen(users, now) => {
                engine.seen(promo, users, *now).await.unwrap();
                Said::Nothing
            }
            Call::Tick(now, log) => Said::Ticked(engine.tick(promo, *now, *log).await.unwrap()),
            Call::Reserve(orders) => Said::Reserved(engine.reserve_together(pool, orders).await.unwrap()),
            Call::DeferAnswer(order) => Said::Deferred(engine.defer_answer(pool, *order).await.unwrap()),
            Call::Logged(order) => {
                engine.logged_for_sure(pool, *order).await.unwrap();
                Said::Nothing
            }
            Call::Settle(verdicts) => Said::Settled(engine.settle(pool, verdicts).await.unwrap()),
            Call::Close(order, how) => Said::Closed(engine.close(pool, *order, *how).await.unwrap()),
            Call::Deposit(units) => {
                engine.deposit(pool, *units).await.unwrap();
                Said::Nothing
            }
            Call::Withdraw(units) => Said::Withdrawn(match engine.withdraw(pool, *units).await {
                Ok(()) => Ok(()),
                Err(WithdrawError::Insufficient(insufficient)) => Err(insufficient),
                Err(WithdrawError::Engine(error)) => panic!("{error}"),
            }),
            Call::Configure(admission) => {
                engine.configure(promo, *admission).await.unwrap();
                Said::Nothing
            }
            Call::SetGate(gate) => {
                engine.set_gate(pool, *gate).await.unwrap();
                Said::Nothing
            }
            Call::Open(opening, now) => {
                self.epochs.set(pool, opening.epoch);
                engine.open(pool, opening.clone()).await.unwrap();
                engine.open_room_at(promo, world.settings, *now).await.unwrap();
                Said::Nothing
            }
        }
    }

    async fn look(&self, world: &World) -> Look {
        let (engine, promo) = (&self.engine, world.promo);
        let everybody: Vec<_> = users().collect();
        let (snapshot, view, standings, draw, page, overdue) = tokio::try_join!(
            engine.snapshot(self.pool),
            engine.view(promo),
            engine.standings(promo, &everybody),
            engine.draw(promo, 0, 100),
            engine.draw(promo, 1, 2),
            engine.overdue(world.now(), world.logged_before(), 100),
        )
        .unwrap();
        Look { snapshot, view, standings, draw, page, overdue }
    }
}

fn same<T: PartialEq + Debug>(redis: &T, pure: &T, after: &Command) -> Result<(), TestCaseError> {
    prop_assert!(redis == pure, "after {:?}\n  Redis: {:?}\n   pure: {:?}", after, redis, pure);
    Ok(())
}

async fn run(history: &[Command], stock: u32, limit: u32) -> Result<(), TestCaseError> {
    let mut world = World::with_bounds(stock, limit, REQUEST_MEMORY_MS, MAX_PLACES);
    let mirror = Mirror::open(&world).await;
    let verdict = compare(&mut world, &mirror, history).await;
    mirror.shop.clear().await;
    verdict
}

async fn compare(world: &mut World, mirror: &Mirror, history: &[Command]) -> Result<(), TestCaseError> {
    for command in history {
        if let Some(call) = world.call(command) {
            let pure = world.perform(&call);
            same(&mirror.perform(world, &call).await, &pure, command)?;
        }
        same(&mirror.look(world).await, &world.look(), command)?;
    }
    for user in users() {
        let pending = mirror.engine.pending_of(user).await.unwrap();
        prop_assert_eq!(pending, world.pending_of(user), "what the shopper is still to hear of");
    }
    Ok(())
}

fn times(ms: &[u64]) -> Vec<Command> {
    ms.iter().map(|&ms| Command::Time { ms }).collect()
}

/// Histories that chance finds too rarely.
#[tokio::test]
async fn redis_answers_as_the_pure_machine_where_it_is_subtle() {
    let admitted = [Command::Join { user: 1 }, Command::Time { ms: 1_500 }, Command::Time { ms: 500 }];
    let order = Command::Order { user: 1, request: 0, quantity: 1 };
    let histories = [
        // A place that was given up stays given up, though its shopper has come again and holds another.
        vec![
            Command::Join { user: 2 },
            Command::Join { user: 3 },
            Command::Leave { user: 2 },
            Command::Join { user: 2 },
            Command::Time { ms: 400 },
            Command::Time { ms: 400 },
        ],
        // Who has ordered since the last tick has no place in the room that goes on, though they may order again.
        vec![order.clone(), Command::SettleAll { post: true }, Command::Join { user: 1 }, Command::Rebuild],
        // While the log is down a pass keeps its time and nobody is called; while it is behind, only the latter.
        vec![
            Command::Join { user: 2 },
            Command::Log { state: LogState::Down },
            Command::Time { ms: 40_000 },
            Command::Log { state: LogState::Behind },
            Command::Time { ms: 1_500 },
            Command::Time { ms: 6_000 },
            Command::Log { state: LogState::Ready },
            Command::Time { ms: 50 },
        ],
        // That passes end later is told after five seconds to the millisecond, and after one when the log is back.
        [&[Command::Log { state: LogState::Down }][..], &times(&[1_500, 1_500, 1_500, 400, 99, 1, 400, 599])]
            .concat(),
        [
            &[Command::Log { state: LogState::Down }][..],
            &times(&[400, 599]),
            &[Command::Log { state: LogState::Ready }],
            &times(&[1]),
            &[Command::Log { state: LogState::Down }],
            &times(&[1]),
            &[Command::Log { state: LogState::Ready }],
            &times(&[1]),
        ]
        .concat(),
        // What is forgotten stays forgotten for a clock that is behind.
        vec![
            order.clone(),
            Command::SettleAll { post: false },
            Command::Time { ms: REQUEST_MEMORY_MS + 1 },
            Command::Order { user: 2, request: 0, quantity: 1 },
            Command::ClockBack { ms: 5 },
            order,
        ],
    ];
    for history in histories {
        run(&[&admitted[..], &history].concat(), 5, 2).await.unwrap();
    }
}

#[test]
fn redis_answers_as_the_pure_machine() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let seeds = FileFailurePersistence::Direct("tests/system/model.seeds");
    let config = ProptestConfig {
        cases: HISTORIES,
        failure_persistence: Some(Box::new(seeds)),
        source_file: Some(file!()),
        ..ProptestConfig::default()
    };
    let histories = (commands_and_losses(COMMANDS), 1_u32..6, 1_u32..3);
    let result = TestRunner::new(config)
        .run(&histories, |(history, stock, limit)| runtime.block_on(run(&history, stock, limit)));
    if let Err(failure) = result {
        panic!("{failure}");
    }
}
