//! A promo's pool in Redis, made by the shop's own scripts: an open ledger, an open room, and a pass for every shopper.

use anyhow::{Context, ensure};
use redis::{Connection, Value, cmd};
use uuid::Uuid;

use crate::baseline::{ceiling::reservation::Reservation, database::shopper};

/// A script as the shop puts it together: what its parts share comes first.
macro_rules! script {
    ($($part:literal),+) => {
        [$(include_str!(concat!("../../../../../src/", $part))),+].join("\n")
    };
}

/// Keys of a pool, in the scripts' order.
const KEYS: [&str; 17] = [
    "ledger",
    "pending",
    "held",
    "unlogged",
    "deferred",
    "posted",
    "live",
    "last",
    "requests",
    "request_ages",
    "room",
    "line",
    "places",
    "returned",
    "passes",
    "expiry",
    "events",
];
/// The promo's name in the scripts.
const POOL: &str = "promo:1";
const EPOCH: &str = "1";
/// Shoppers who join in one call.
const JOIN_AT_ONCE: usize = 500;
/// Passes that one tick gives, at most; the script's own bound.
const PASSES_PER_TICK: usize = 64;
/// What a tick is told of the order log: it takes orders.
const LOG_READY: &[&str] = &["ready"];
/// No pass lapses and nobody is away for too long in this time.
const LONG_MS: &str = "86400000";
/// Passes per second, and at most: more than are needed.
const PLENTY: &str = "1000000";
/// How long a repeated request is recognised, as in the shop.
const REQUEST_MEMORY_MS: &str = "3600000";
/// How long Redis may take for an answer.
const ANSWERS_WITHIN: std::time::Duration = std::time::Duration::from_secs(30);

/// A pool that nobody else uses. To be cleared with [`Self::clear`].
pub struct Pool {
    prefix: String,
    reserve: String,
    shoppers: Vec<i64>,
    now_ms: i64,
}

/// One connection to the server.
pub fn connect(url: &str) -> anyhow::Result<Connection> {
    let client = redis::Client::open(url).context("--redis-url")?;
    let connection = client.get_connection().context("Redis does not answer")?;
    connection.set_read_timeout(Some(ANSWERS_WITHIN))?;
    Ok(connection)
}

/// Processor time that Redis has used so far, in seconds.
pub fn cpu_s(connection: &mut Connection) -> anyhow::Result<f64> {
    let info: String = cmd("INFO").arg("cpu").query(connection)?;
    let field = |name: &str| -> anyhow::Result<f64> {
        let value =
            info.lines().find_map(|line| line.strip_prefix(name)).context("INFO cpu lacks a field")?;
        Ok(value.trim().parse()?)
    };
    Ok(field("used_cpu_user:")? + field("used_cpu_sys:")?)
}

impl Pool {
    /// Opens it with one unit and one pass for each of so many shoppers.
    pub fn open(connection: &mut Connection, shoppers: usize) -> anyhow::Result<Self> {
        let prefix = format!("panicbuy-bench-{}:", Uuid::new_v4().simple());
        let shoppers: Vec<i64> = (1..=i64::try_from(shoppers)?).map(shopper).collect();
        let mut pool = Self { prefix, reserve: String::new(), shoppers, now_ms: now_ms() };
        let opened = pool.build(connection).and_then(|()| pool.admit_everybody(connection));
        if opened.is_err() {
            pool.clear(connection)?;
        }
        opened.map(|()| pool)
    }

    /// All shoppers with a pass.
    pub fn shoppers(&self) -> &[i64] {
        &self.shoppers
    }

    /// One order of each of these shoppers, `per_call` in each encoded call.
    pub fn calls(&self, shoppers: &[i64], per_call: usize) -> Vec<Vec<u8>> {
        let call = |shoppers: &[i64]| {
            let words: Vec<String> =
                shoppers.iter().flat_map(|&user| order_words(user, self.now_ms)).collect();
            self.call(&self.reserve, 0, &words).get_packed_command()
        };
        shoppers.chunks(per_call).map(call).collect()
    }

    /// Fails unless the ledger holds one unit for each of so many orders, and no pass is left.
    pub fn check(&self, connection: &mut Connection, orders: usize) -> anyhow::Result<()> {
        let (available, pending, sold): (usize, usize, usize) =
            cmd("HMGET").arg(self.key("ledger")).arg(&["available", "pending", "sold"]).query(connection)?;
        let passes: usize = cmd("ZCARD").arg(self.key("passes")).query(connection)?;
        let records: usize = cmd("HLEN").arg(self.key("pending")).query(connection)?;
        ensure!(
            (available, pending, sold, passes, records) == (0, orders, 0, 0, orders),
            "{orders} orders were held, but the ledger has {available} units left, {pending} pending ({records} \
             records), {sold} sold, and {passes} passes"
        );
        Ok(())
    }

    /// Deletes all of it.
    pub fn clear(&self, connection: &mut Connection) -> anyhow::Result<()> {
        let keys: Vec<String> = KEYS.iter().map(|name| self.key(name)).collect();
        cmd("UNLINK").arg(keys).query::<()>(connection)?;
        Ok(())
    }

    fn build(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        self.reserve = load(
            connection,
            &script!(
                "reservation/scripts/prelude.lua",
                "reservation/scripts/ledger.lua",
                "admission/scripts/room.lua",
                "reservation/scripts/reserve.lua"
            ),
        )?;
        let begin = load(
            connection,
            &script!("reservation/scripts/prelude.lua", "reservation/scripts/open_begin.lua"),
        )?;
        let finish = load(
            connection,
            &script!(
                "reservation/scripts/prelude.lua",
                "reservation/scripts/building.lua",
                "reservation/scripts/open_finish.lua"
            ),
        )?;
        let open_room = load(
            connection,
            &script!(
                "reservation/scripts/prelude.lua",
                "reservation/scripts/ledger.lua",
                "admission/scripts/room.lua",
                "admission/scripts/open_room.lua"
            ),
        )?;
        let (units, starts_at) = (self.shoppers.len().to_string(), (self.now_ms - 1000).to_string());
        let ends_at = (self.now_ms + 86_400_000).to_string();
        let opening = ["builder", &units, "0", "1", &starts_at, &ends_at, "0", "0", REQUEST_MEMORY_MS];
        self.expect(connection, &begin, &opening, "begun")?;
        self.expect(connection, &finish, &["builder"], "ok")?;
        let room = ["draw", PLENTY, PLENTY, LONG_MS, LONG_MS, PLENTY, PLENTY];
        self.expect(connection, &open_room, &room, "open")
    }

    fn admit_everybody(&self, connection: &mut Connection) -> anyhow::Result<()> {
        let join = load(
            connection,
            &script!(
                "reservation/scripts/prelude.lua",
                "reservation/scripts/ledger.lua",
                "admission/scripts/room.lua",
                "admission/scripts/join.lua"
            ),
        )?;
        let tick = load(
            connection,
            &script!(
                "reservation/scripts/prelude.lua",
                "reservation/scripts/ledger.lua",
                "admission/scripts/room.lua",
                "admission/scripts/tick.lua"
            ),
        )?;
        for shoppers in self.shoppers.chunks(JOIN_AT_ONCE) {
            let words =
                shoppers.iter().flat_map(|&user| [user_word(user), "0".to_owned(), self.now_ms.to_string()]);
            let words: Vec<String> = words.collect();
            self.expect(connection, &join, &words, "ok")?;
        }
        // The first tick only starts the room's clock; two seconds later its bucket is full.
        self.call(&tick, self.now_ms, LOG_READY).query::<Value>(connection)?;
        for _ in 0..self.shoppers.len().div_ceil(PASSES_PER_TICK) {
            self.call(&tick, self.now_ms + 2000, LOG_READY).query::<Value>(connection)?;
        }
        let passes: usize = cmd("ZCARD").arg(self.key("passes")).query(connection)?;
        ensure!(passes == self.shoppers.len(), "{passes} of {} shoppers have a pass", self.shoppers.len());
        Ok(())
    }

    /// Runs a script that must answer with this word first.
    fn expect(
        &self,
        connection: &mut Connection,
        script: &str,
        words: &[impl AsRef<str>],
        expected: &str,
    ) -> anyhow::Result<()> {
        let answer: Vec<String> = self.call(script, 0, words).query(connection)?;
        ensure!(answer.first().is_some_and(|word| word == expected), "expected {expected}, got {answer:?}");
        Ok(())
    }

    fn call(&self, script: &str, now_ms: i64, words: &[impl AsRef<str>]) -> redis::Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(script).arg(KEYS.len());
        for name in KEYS {
            call.arg(self.key(name));
        }
        call.arg(EPOCH).arg(now_ms).arg("bench");
        for word in words {
            call.arg(word.as_ref());
        }
        call
    }

    fn key(&self, name: &str) -> String {
        format!("{}{{{POOL}}}:{name}", self.prefix)
    }
}

fn load(connection: &mut Connection, script: &str) -> anyhow::Result<String> {
    Ok(cmd("SCRIPT").arg("LOAD").arg(script).query(connection)?)
}

/// A shopper as the scripts want it: digits that sort as the number does.
fn user_word(user: i64) -> String {
    format!("{user:019}")
}

/// The words of one order.
fn order_words(user: i64, now_ms: i64) -> [String; 7] {
    let reservation = Reservation::new(user, POOL);
    [
        reservation.order_id.to_string(),
        reservation.request_id.to_string(),
        user_word(user),
        reservation.quantity.to_string(),
        now_ms.to_string(),
        reservation.price_minor.to_string(),
        reservation.text(),
    ]
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_in_which_the_scripts_name_them() {
        let prelude = include_str!("../../../../../src/reservation/scripts/prelude.lua");
        let (_, names) = prelude.split_once("local LEDGER").unwrap();
        let (names, _) = names.split_once("unpack(KEYS)").unwrap();
        let first_word = |line: &str| line.trim().split([',', ' ']).next().unwrap_or_default().to_lowercase();
        let in_prelude: Vec<String> = names.lines().skip(1).map(first_word).collect();
        assert_eq!(in_prelude, KEYS[1..]);
    }

    #[test]
    fn a_shopper_sorts_as_a_number() {
        assert_eq!(user_word(17), "0000000000000000017");
        assert_eq!(order_words(17, 5)[4], "5");
    }
}
