//! Settings, by flag and by environment, each under one name. The only place that reads the command line or the environment.
//!
//! Every bound of the system is here with its default. Durations are integers in milliseconds.

mod engines;

use std::{net::SocketAddr, num::NonZeroU32};

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

use crate::domain::Currency;

pub use self::engines::{EngineArgs, EngineSet, NoEngineSet, Role};

/// PanicBuying: a real-time queueing gateway for flash sales.
///
/// Shoppers hold a WebSocket, wait their turn in a fair waiting room, are let in at the rate the shop can serve, and hear
/// the outcome of their order over the same socket. Nothing is oversold, and no accepted order goes without an answer.
#[derive(Debug, Parser)]
#[command(name = "panicbuy", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server.
    Serve(Box<Settings>),
    /// Run the server with a sale that opens in a moment, and a crowd of simulated shoppers.
    Demo(Box<DemoSettings>),
    /// Print the description of the REST API (OpenAPI) as JSON.
    Openapi,
    /// Ask a running server whether it is alive; for supervisors that can only run a program.
    Healthcheck {
        /// The server's address; an unspecified one (0.0.0.0) is asked on this machine.
        #[arg(long, env = "PANICBUY_LISTEN", value_name = "ADDR:PORT", default_value = "127.0.0.1:8080", value_parser = listen_address)]
        listen: SocketAddr,
    },
}

/// The sale and the crowd of `panicbuy demo`.
#[derive(Debug, Args)]
pub struct DemoSettings {
    /// Simulated shoppers; they connect through the real socket like anybody else.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = value_parser!(u32).range(0..=5000))]
    pub shoppers: u32,
    /// Units in the sale.
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub stock: u32,
    /// Seconds until the sale opens.
    #[arg(long, value_name = "S", default_value_t = 20, value_parser = value_parser!(u64).range(1..=3600))]
    pub opens_in: u64,
    #[command(flatten)]
    pub settings: Settings,
}

/// Every setting of the server.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    #[command(flatten)]
    pub server: ServerArgs,
    #[command(flatten)]
    pub engines: EngineArgs,
    #[command(flatten)]
    pub accounts: AccountArgs,
    #[command(flatten)]
    pub sockets: SocketArgs,
    #[command(flatten)]
    pub admission: AdmissionArgs,
    #[command(flatten)]
    pub orders: OrderArgs,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerArgs {
    /// Address to listen on; port 0 picks a free one.
    #[arg(long, env = "PANICBUY_LISTEN", value_name = "ADDR:PORT", default_value = "127.0.0.1:8080", value_parser = listen_address)]
    pub listen: SocketAddr,
    /// ISO 4217 currency of every price.
    #[arg(long, env = "PANICBUY_CURRENCY", value_name = "CODE", default_value = "EUR")]
    pub currency: Currency,
    /// Origins browsers may open sockets from, besides the server's own; comma-separated.
    #[arg(long, env = "PANICBUY_ALLOWED_ORIGINS", value_name = "ORIGIN,…", value_delimiter = ',', value_parser = origin)]
    pub allowed_origins: Vec<String>,
    /// Take clients' addresses from the last entry of X-Forwarded-For. Only behind a proxy that sets it.
    #[arg(long, env = "PANICBUY_TRUST_FORWARDED_FOR")]
    pub trust_forwarded_for: bool,
    /// Log lines for people or for machines.
    #[arg(long, env = "PANICBUY_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What to log: a level, or directives such as `info,panicbuy::gateway=debug`.
    #[arg(long, env = "PANICBUY_LOG", value_name = "FILTER", default_value = "info")]
    pub log: String,
    /// Open connections of any kind.
    #[arg(long, env = "PANICBUY_MAX_CONNECTIONS", value_name = "N", default_value_t = 19_500, value_parser = count_usize)]
    pub max_connections: usize,
    /// How long a client may take to send the head of a request.
    #[arg(long, env = "PANICBUY_HEAD_TIMEOUT_MS", value_name = "MS", default_value_t = 10_000, value_parser = millis())]
    pub head_timeout_ms: u64,
    /// How long a request may take.
    #[arg(long, env = "PANICBUY_REQUEST_TIMEOUT_MS", value_name = "MS", default_value_t = 10_000, value_parser = millis())]
    pub request_timeout_ms: u64,
    /// How long a shutdown may take before what is left is cut off.
    #[arg(long, env = "PANICBUY_DRAIN_TIMEOUT_MS", value_name = "MS", default_value_t = 10_000, value_parser = millis())]
    pub drain_timeout_ms: u64,
    /// How old a cached item or promo may be.
    #[arg(long, env = "PANICBUY_CACHE_MS", value_name = "MS", default_value_t = 1000, value_parser = millis())]
    pub cache_ms: u64,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Accounts")]
pub struct AccountArgs {
    /// E-mail address of an administrator, made at the start if absent.
    #[arg(long, env = "PANICBUY_ADMIN_EMAIL", value_name = "EMAIL", requires = "admin_password")]
    pub admin_email: Option<String>,
    /// The administrator's password, 8 to 128 characters.
    #[arg(
        long,
        env = "PANICBUY_ADMIN_PASSWORD",
        value_name = "PASSWORD",
        requires = "admin_email",
        hide_env_values = true
    )]
    pub admin_password: Option<String>,
    /// Secret that signs session tokens, at least 32 characters. Generated and kept beside the database when unset.
    #[arg(long, env = "PANICBUY_TOKEN_SECRET", value_name = "SECRET", hide_env_values = true, value_parser = token_secret)]
    pub token_secret: Option<String>,
    /// How long a session token lives.
    #[arg(long, env = "PANICBUY_TOKEN_TTL_MS", value_name = "MS", default_value_t = 86_400_000, value_parser = millis())]
    pub token_ttl_ms: u64,
    /// Log-ins per minute for one e-mail address.
    #[arg(long, env = "PANICBUY_LOGINS_PER_EMAIL_PER_MIN", value_name = "N", default_value_t = 10.try_into().expect("not zero"))]
    pub logins_per_email_per_min: NonZeroU32,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sockets")]
pub struct SocketArgs {
    /// Open sockets of this process.
    #[arg(long, env = "PANICBUY_MAX_SOCKETS", value_name = "N", default_value_t = 19_000, value_parser = count_usize)]
    pub max_sockets: usize,
    /// Sockets of one shopper.
    #[arg(long, env = "PANICBUY_MAX_SOCKETS_PER_SHOPPER", value_name = "N", default_value_t = 8, value_parser = count_usize)]
    pub max_sockets_per_shopper: usize,
    /// Promos one socket may watch.
    #[arg(long, env = "PANICBUY_MAX_WATCHED_PROMOS", value_name = "N", default_value_t = 64, value_parser = count_usize)]
    pub max_watched_promos: usize,
    /// Handshakes per second from one address; many shoppers may share one.
    #[arg(long, env = "PANICBUY_HANDSHAKES_PER_ADDRESS_PER_S", value_name = "N", default_value_t = 1000.try_into().expect("not zero"))]
    pub handshakes_per_address_per_s: NonZeroU32,
    /// Frames per second from one socket.
    #[arg(long, env = "PANICBUY_FRAMES_PER_SOCKET_PER_S", value_name = "N", default_value_t = 50.try_into().expect("not zero"))]
    pub frames_per_socket_per_s: NonZeroU32,
    /// Frames a socket may be behind before it is closed as too slow.
    #[arg(long, env = "PANICBUY_OUTBOX_FRAMES", value_name = "N", default_value_t = 64, value_parser = count_usize)]
    pub outbox_frames: usize,
    /// How often sockets are pinged; one that is silent for twice as long is closed.
    #[arg(long, env = "PANICBUY_HEARTBEAT_MS", value_name = "MS", default_value_t = 20_000, value_parser = millis())]
    pub heartbeat_ms: u64,
    /// How long a socket may take to say hello.
    #[arg(long, env = "PANICBUY_HELLO_TIMEOUT_MS", value_name = "MS", default_value_t = 5000, value_parser = millis())]
    pub hello_timeout_ms: u64,
    /// How long writing to a socket may take before it is closed as too slow.
    #[arg(long, env = "PANICBUY_WRITE_TIMEOUT_MS", value_name = "MS", default_value_t = 10_000, value_parser = millis())]
    pub write_timeout_ms: u64,
    /// How long the closing handshake may take.
    #[arg(long, env = "PANICBUY_CLOSE_TIMEOUT_MS", value_name = "MS", default_value_t = 2000, value_parser = millis())]
    pub close_timeout_ms: u64,
    /// The window over which clients are told to come back.
    #[arg(long, env = "PANICBUY_RECONNECT_SPREAD_MS", value_name = "MS", default_value_t = 5000, value_parser = millis())]
    pub reconnect_spread_ms: u64,
    /// How often a changed queue or stock is broadcast.
    #[arg(long, env = "PANICBUY_BROADCAST_INTERVAL_MS", value_name = "MS", default_value_t = 250, value_parser = millis())]
    pub broadcast_interval_ms: u64,
    /// News that may wait for a gateway before it reads state instead.
    #[arg(long, env = "PANICBUY_RESULTS_CAPACITY", value_name = "N", default_value_t = 8192, value_parser = count_usize)]
    pub results_capacity: usize,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Waiting room")]
pub struct AdmissionArgs {
    /// How often time acts on the waiting rooms.
    #[arg(long, env = "PANICBUY_TICK_MS", value_name = "MS", default_value_t = 50, value_parser = millis())]
    pub tick_ms: u64,
    /// How long a called shopper may be away before the place is passed over (until they come back).
    #[arg(long, env = "PANICBUY_GRACE_MS", value_name = "MS", default_value_t = 30_000, value_parser = millis())]
    pub grace_ms: u64,
    /// How often gateways report who is connected; well below the grace time.
    #[arg(long, env = "PANICBUY_PRESENCE_INTERVAL_MS", value_name = "MS", default_value_t = 5000, value_parser = millis())]
    pub presence_interval_ms: u64,
    /// How often changed waiting rooms are saved beside the database, so that places outlive the process.
    #[arg(long, env = "PANICBUY_ROOM_SAVE_MS", value_name = "MS", default_value_t = 100, value_parser = millis())]
    pub room_save_ms: u64,
    /// Unsettled orders of a promo at which no more passes are given.
    #[arg(long, env = "PANICBUY_MAX_UNSETTLED", value_name = "N", default_value_t = 5000, value_parser = value_parser!(u32).range(1..))]
    pub max_unsettled: u32,
    /// Records of the log, of all promos, at which no more passes are given until the writers have caught up. In a cluster a
    /// record holds one order or, in a rush, up to 256.
    #[arg(long, env = "PANICBUY_MAX_LOG_LAG", value_name = "N", default_value_t = 5000, value_parser = value_parser!(u64).range(1..))]
    pub max_log_lag: u64,
    /// Places in one waiting room.
    #[arg(long, env = "PANICBUY_MAX_PLACES", value_name = "N", default_value_t = 1_000_000, value_parser = value_parser!(u32).range(1..))]
    pub max_places: u32,
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Orders")]
pub struct OrderArgs {
    /// Orders per second of one shopper.
    #[arg(long, env = "PANICBUY_ORDERS_PER_USER_PER_S", value_name = "N", default_value_t = 10.try_into().expect("not zero"))]
    pub orders_per_user_per_s: NonZeroU32,
    /// Units in one order.
    #[arg(long, env = "PANICBUY_MAX_ORDER_QUANTITY", value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=1_000_000))]
    pub max_order_quantity: u32,
    /// Orders on their way into the log.
    #[arg(long, env = "PANICBUY_MAX_ORDERS_IN_FLIGHT", value_name = "N", default_value_t = 10_000, value_parser = count_usize)]
    pub max_orders_in_flight: usize,
    /// How long an order's answer is waited for before it is left to follow.
    #[arg(long, env = "PANICBUY_CONFIRM_TIMEOUT_MS", value_name = "MS", default_value_t = 5000, value_parser = millis())]
    pub confirm_timeout_ms: u64,
    /// How long a repeated request is recognised without asking the database.
    #[arg(long, env = "PANICBUY_REQUEST_MEMORY_MS", value_name = "MS", default_value_t = 3_600_000, value_parser = millis())]
    pub request_memory_ms: u64,
    /// Refusals remembered for repeated requests.
    #[arg(long, env = "PANICBUY_REFUSALS_REMEMBERED", value_name = "N", default_value_t = 100_000)]
    pub refusals_remembered: u64,
    /// How long a refusal is remembered.
    #[arg(long, env = "PANICBUY_REFUSAL_MEMORY_MS", value_name = "MS", default_value_t = 60_000, value_parser = millis())]
    pub refusal_memory_ms: u64,
    /// Accepted orders of this process whose outcome is watched for, in case its news is lost.
    #[arg(long, env = "PANICBUY_OUTCOMES_AWAITED", value_name = "N", default_value_t = 200_000, value_parser = count_usize)]
    pub outcomes_awaited: usize,
    /// How long an outcome may take before it is looked up in the database.
    #[arg(long, env = "PANICBUY_OUTCOME_OVERDUE_MS", value_name = "MS", default_value_t = 3000, value_parser = millis())]
    pub outcome_overdue_ms: u64,
    /// How long an order at list price may stay unpaid.
    #[arg(long, env = "PANICBUY_PAYMENT_WINDOW_MS", value_name = "MS", default_value_t = 900_000, value_parser = millis())]
    pub payment_window_ms: u64,
    /// How often unpaid orders are looked for.
    #[arg(long, env = "PANICBUY_EXPIRY_INTERVAL_MS", value_name = "MS", default_value_t = 250, value_parser = millis())]
    pub expiry_interval_ms: u64,
    /// Orders in one transaction of the order writer.
    #[arg(long, env = "PANICBUY_WRITER_BATCH", value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..=10_000))]
    pub writer_batch: u32,
    /// The longest pause between two tries of a failing step.
    #[arg(long, env = "PANICBUY_RETRY_MAX_MS", value_name = "MS", default_value_t = 2000, value_parser = millis())]
    pub retry_max_ms: u64,
    /// How old a reservation must be before the relay logs it again.
    #[arg(long, env = "PANICBUY_RELAY_AFTER_MS", value_name = "MS", default_value_t = 2000, value_parser = millis())]
    pub relay_after_ms: u64,
    /// How old a reservation that is in the log may become before the relay logs it again, in case the log has lost it.
    #[arg(long, env = "PANICBUY_RELAY_LOGGED_AFTER_MS", value_name = "MS", default_value_t = 120_000, value_parser = millis())]
    pub relay_logged_after_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

fn listen_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8080 or [::]:8080".to_owned())
}

fn origin(text: &str) -> Result<String, String> {
    let expected = || "expected scheme and host, such as https://shop.example".to_owned();
    let (scheme, authority) = text.trim().split_once("://").ok_or_else(expected)?;
    let bare = !authority.is_empty() && !authority.contains('/');
    if bare && matches!(scheme, "http" | "https") { Ok(text.trim().to_owned()) } else { Err(expected()) }
}

fn token_secret(text: &str) -> Result<String, String> {
    if text.len() >= 32 { Ok(text.to_owned()) } else { Err("expected at least 32 characters".to_owned()) }
}

fn count_usize(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=10_000_000).contains(&count) => Ok(count),
        _ => Err("expected a whole number from 1 to 10000000".to_owned()),
    }
}

/// A duration from 1 ms to 30 days.
fn millis() -> clap::builder::RangedU64ValueParser<u64> {
    value_parser!(u64).range(1..=2_592_000_000)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    pub(super) fn settings(args: &[&str]) -> Result<Settings, clap::Error> {
        let cli = Cli::try_parse_from(["panicbuy", "serve"].iter().chain(args))?;
        match cli.command {
            Command::Serve(settings) => Ok(*settings),
            Command::Demo(_) | Command::Openapi | Command::Healthcheck { .. } => {
                unreachable!("serve was asked for")
            }
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_setting_has_an_environment_name_that_follows_from_its_flag() {
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        for arg in serve.get_arguments().filter(|arg| arg.get_long() != Some("help")) {
            let flag = arg.get_long().unwrap();
            let expected = format!("PANICBUY_{}", flag.replace('-', "_").to_uppercase());
            assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(expected.as_str()), "--{flag}");
        }
    }

    #[test]
    fn the_readme_lists_every_setting() {
        let readme = include_str!("../README.md");
        let command = Cli::command();
        let serve = command.find_subcommand("serve").unwrap();
        for flag in serve.get_arguments().filter_map(|arg| arg.get_long()).filter(|flag| *flag != "help") {
            assert!(readme.contains(&format!("`--{flag}`")), "--{flag} is not in the README");
        }
    }

    #[test]
    fn a_wrong_value_names_the_setting_the_value_and_what_would_be_right() {
        for (flag, value, right) in [
            ("--listen", "localhost", "such as 127.0.0.1:8080"),
            ("--heartbeat-ms", "0", "1..=2592000000"),
            ("--max-sockets", "many", "from 1 to 10000000"),
            ("--allowed-origins", "shop.example", "such as https://shop.example"),
            ("--currency", "euro", "such as EUR"),
            ("--token-secret", "short", "at least 32 characters"),
        ] {
            let message = settings(&[flag, value]).unwrap_err().to_string();
            for part in [flag, value, right] {
                assert!(message.contains(part), "{message:?} does not say {part:?}");
            }
        }
    }
}
