//! The standard set: which scenario runs how, on what. Pure.

use super::deployment::Engines;

/// One step of a report.
#[derive(Clone, Debug)]
pub struct Step {
    /// Results are kept under this name.
    pub name: &'static str,
    pub on: On,
    /// The command line, without what names the deployment.
    pub arguments: Vec<String>,
    /// Adds `--rate`: this share of the highest rate that `orders` found.
    pub share_of_orders: Option<f64>,
}

/// What a step needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// The servers alone.
    Services,
    /// A shop of its own, with so many gateways.
    Shop { engines: Engines, gateways: usize },
}

/// Gateways for 100,000 sockets, at 19,000 each and some room.
const GATEWAYS_FOR_100_000: usize = 6;

/// The short set, within five minutes.
pub fn quick(engines: Engines, gateways: usize) -> Vec<Step> {
    let shop = On::Shop { engines, gateways };
    vec![
        step("classic", On::Services, "classic --warm-up 1 --duration 2 --repeats 2 --connections 2,4,8,16"),
        step(
            "ceiling",
            On::Services,
            "ceiling --parts batches,scripts --warm-up 1 --duration 2 --repeats 2 --batch-sizes 1000 --script-orders 10000 \
             --script-depths 16 --script-batches 128,512",
        ),
        step(
            "stampede",
            shop,
            "stampede --shoppers 1000 --stock 600 --rate 300 --lobby-s 4 --connects-per-s 2000",
        ),
        step(
            "orders",
            shop,
            "orders --shoppers 18000 --duration-s 1.6 --warm-up-s 0.3 --connects-per-s 3000 --start-rate 1600",
        ),
        step(
            "soldout",
            shop,
            "soldout --shoppers 6000 --duration-s 2 --connects-per-s 2000 --start-rate 10000",
        ),
        step("crowd", shop, "crowd --sockets 1000 --idle 3 --broadcasts 10 --storms 0"),
    ]
}

/// The whole set.
pub fn full(engines: Engines, gateways: usize, long_orders: u32) -> Vec<Step> {
    let shop = On::Shop { engines, gateways };
    let embedded = On::Shop { engines: Engines::Embedded, gateways: 1 };
    let wide = On::Shop { engines, gateways: GATEWAYS_FOR_100_000 };
    // Each shopper orders once, so their number and the time bound the rate that can be found.
    let orders = "orders --shoppers 18000 --duration-s 1.6 --warm-up-s 0.3 --repeats 5 --connects-per-s 3000";
    let rounds = long_orders.div_ceil(14_000);
    let long = Step {
        share_of_orders: Some(0.6),
        ..step(
            "orders_long",
            shop,
            &format!("orders --shoppers 18000 --duration-s 2.8 --repeats {rounds} --connects-per-s 3000"),
        )
    };
    vec![
        step("classic", On::Services, "classic"),
        step("ceiling", On::Services, "ceiling"),
        step(
            "stampede",
            shop,
            "stampede --shoppers 8000 --stock 5000 --rate 600 --lobby-s 10 --connects-per-s 2000",
        ),
        step("orders", shop, orders),
        step("orders_embedded", embedded, orders),
        step("soldout", shop, "soldout --shoppers 8000 --duration-s 4 --repeats 5 --connects-per-s 2000"),
        step(
            "soldout_item",
            shop,
            "soldout --ware item --shoppers 8000 --duration-s 4 --connects-per-s 2000",
        ),
        step("crowd", shop, "crowd --sockets 1000"),
        step(
            "crowd_18800",
            On::Shop { engines, gateways: 1 },
            "crowd --sockets 18800 --sockets-per-worker 18800 --enter-per-s 2000",
        ),
        step("crowd_100000", wide, "crowd --sockets 100000 --sockets-per-worker 17000 --enter-per-s 2000"),
        long,
    ]
}

fn step(name: &'static str, on: On, line: &str) -> Step {
    let arguments = line.split_whitespace().map(str::to_owned).collect();
    Step { name, on, arguments, share_of_orders: None }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_step_is_a_command_line_that_is_understood() {
        let all = [quick(Engines::Cluster, 1), full(Engines::Cluster, 1, 100_000)].concat();
        for step in all {
            let deployment = match step.on {
                On::Services => vec!["--database-url", "mysql://a:b@127.0.0.1/c"],
                On::Shop { .. } => vec!["--admin-email", "a@b", "--admin-password", "c"],
            };
            let servers = match step.name {
                "ceiling" => vec!["--redis-url", "redis://127.0.0.1", "--kafka-brokers", "127.0.0.1:1"],
                _ => Vec::new(),
            };
            let line = ["panicbuy-bench"].into_iter().chain(step.arguments.iter().map(String::as_str));
            let parsed = Cli::try_parse_from(line.chain(deployment).chain(servers));
            assert!(parsed.is_ok(), "{}: {parsed:?}", step.name);
        }
    }
}
