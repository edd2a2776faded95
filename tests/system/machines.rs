//! Properties of the pure state machines under generated histories.

pub mod history;
pub mod world;

use std::collections::{HashMap, HashSet};

use history::{Command, commands, users};
use panicbuy::{
    admission::port::LogState,
    domain::{OrderId, Phase, Reason, UserId},
    reservation::port::{Closed, Reserved},
};
use proptest::prelude::*;
use world::World;

/// What a history has shown so far, to hold later answers against.
#[derive(Default)]
struct Witness {
    head: u64,
    numbers: HashMap<u64, UserId>,
    settled: HashSet<OrderId>,
    closed: HashSet<OrderId>,
}

fn check(world: &World, command: &Command, witness: &mut Witness) -> Result<(), TestCaseError> {
    let units = world.pool.snapshot();
    prop_assert_eq!(
        units.initial,
        units.available + units.pending + units.sold,
        "conservation after {:?}",
        command
    );
    prop_assert_eq!(units.pending, world.unsettled_units(), "pending units are those of unsettled orders");
    prop_assert!(units.holds <= units.available || world.over(), "a pass without a unit after {:?}", command);

    let view = world.pool.view().expect("the pool has a room");
    prop_assert!(view.head >= witness.head, "head went back after {:?}", command);
    witness.head = view.head;

    for user in users() {
        let standing = world.pool.standing(world.promo, user);
        if let Some(number) = standing.number {
            prop_assert!(number >= 1 && number <= world.numbers_given(), "number {} is not dense", number);
            let owner = *witness.numbers.entry(number).or_insert(user);
            prop_assert_eq!(owner, user, "number {} changed hands", number);
        }
        if standing.phase == Phase::Queued {
            let number = standing.number.expect("a queued shopper has a number");
            prop_assert_eq!(standing.ahead, Some(number.saturating_sub(view.head + 1)));
        }
    }
    Ok(())
}

/// Answers that later answers must agree with.
fn check_answers(world: &World, witness: &mut Witness) -> Result<(), TestCaseError> {
    for (order, first_time) in &world.last_settles {
        prop_assert_eq!(*first_time, witness.settled.insert(*order), "order {} was settled twice", order);
    }
    for (order, closed) in &world.last_closes {
        if *closed == Closed::Now {
            prop_assert!(witness.closed.insert(*order), "order {} was closed twice", order);
            prop_assert!(witness.settled.contains(order), "order {} was closed before its verdict", order);
        }
    }
    if let Some((had_pass, quantity, answer)) = &world.last_order {
        match answer {
            Reserved::Refused(Reason::SoldOut) => {
                prop_assert!(!(*had_pass && *quantity == 1), "a pass holder was told sold out");
            }
            Reserved::Refused(Reason::NoPass) => prop_assert!(!had_pass),
            Reserved::Held(held) => prop_assert!(*had_pass, "{} got a unit without a pass", held.user_id),
            Reserved::Repeated { .. } | Reserved::Refused(_) => {}
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Conservation, dense and stable numbers, a head that only grows, no pass beyond the stock, no pass holder told
    /// "sold out", one verdict and one closing per order: after every command of any history.
    #[test]
    fn every_promise_holds_after_every_command(history in commands(60), limit in 1_u32..3, stock in 1_u32..6) {
        let mut world = World::new(stock, limit);
        let mut witness = Witness::default();
        for command in &history {
            world.apply(command);
            check(&world, command, &mut witness)?;
            check_answers(&world, &mut witness)?;
        }
    }

    /// A refused order took nothing, and a repeated request gets the first order again and takes nothing.
    #[test]
    fn refusals_and_repetitions_take_nothing(history in commands(60), stock in 1_u32..6) {
        let mut world = World::new(stock, 1);
        for command in &history {
            let before = world.pool.snapshot();
            world.apply(command);
            if let (Command::Order { .. }, Some((_, _, answer))) = (command, &world.last_order)
                && !matches!(answer, Reserved::Held(_))
            {
                prop_assert_eq!(world.pool.snapshot(), before);
            }
            prop_assert_eq!(world.first_answers_contradicted, 0);
        }
    }

    /// The lobby is numbered in ascending order of its keys, whatever the order of the joins.
    #[test]
    fn the_draw_ignores_the_order_of_the_joins(mut joins in prop::collection::vec((1_i64..500, 0_u64..1 << 52), 1..80)) {
        let mut seen = HashSet::new();
        joins.retain(|(user, _)| seen.insert(*user));
        let mut world = World::new(1, 1);
        for (user, key) in &joins {
            world.join_with_key(UserId(*user), *key);
        }
        world.pass_time(world::UNTIL_OPEN_MS);
        joins.sort_unstable_by_key(|(user, key)| (*key, *user));
        for (index, (user, _)) in joins.iter().enumerate() {
            let number = world.pool.standing(world.promo, UserId(*user)).number;
            prop_assert_eq!(number, Some(index as u64 + 1));
        }
    }
}

/// The seed is public from the start on. Whoever joins then must not get into the draw, even if no tick came yet.
#[test]
fn nobody_joins_the_draw_once_the_seed_is_public() {
    let mut world = World::new(1, 1);
    world.join_with_key(UserId(1), 500);
    world.skip_time(world::UNTIL_OPEN_MS);
    world.join_with_key(UserId(2), 0);
    assert_eq!(world.pool.standing(world.promo, UserId(1)).number, Some(1));
    assert_eq!(world.pool.standing(world.promo, UserId(2)).number, Some(2));
    assert!(world.tick().opened, "the opening is still reported, once");
    assert!(!world.tick().opened);
}

/// One shopper with a pass that ends in 5 s, and one behind them.
fn one_called() -> World {
    let mut world = World::new(2, 1);
    world.join_with_key(UserId(1), 1);
    world.pass_time(world::UNTIL_OPEN_MS);
    world.pass_time(500);
    world.join_with_key(UserId(2), 2);
    world
}

fn phase(world: &World, user: i64) -> Phase {
    world.pool.standing(world.promo, UserId(user)).phase
}

#[test]
fn nobody_loses_a_pass_to_a_log_that_is_down() {
    let mut world = one_called();
    assert_eq!(phase(&world, 1), Phase::Admitted);
    world.log = LogState::Down;
    world.pass_time(60_000);
    assert_eq!(phase(&world, 1), Phase::Admitted, "room time stands still");
    assert_eq!(phase(&world, 2), Phase::Queued, "and nobody is called");
    world.log = LogState::Ready;
    world.pass_time(4_999);
    assert_eq!(phase(&world, 1), Phase::Admitted, "the pass has its whole time");
    world.pass_time(1);
    assert_eq!(phase(&world, 1), Phase::None);
}

#[test]
fn a_log_that_is_behind_holds_the_door_and_not_the_time() {
    let mut world = one_called();
    world.log = LogState::Behind;
    world.pass_time(4_999);
    assert_eq!((phase(&world, 1), phase(&world, 2)), (Phase::Admitted, Phase::Queued));
    world.pass_time(1);
    assert_eq!((phase(&world, 1), phase(&world, 2)), (Phase::None, Phase::Queued));
    world.log = LogState::Ready;
    world.tick();
    assert_eq!(phase(&world, 2), Phase::Admitted);
}
