//! Where the load goes. Refuses to load any machine but this one unless its host is named a second time.

use std::net::IpAddr;

use anyhow::{Context, bail, ensure};
use reqwest::Url;

use crate::cli::TargetArgs;

/// The gateways of one deployment; never empty.
#[derive(Clone, Debug)]
pub struct Target {
    gateways: Vec<Gateway>,
}

/// One gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    pub host: String,
    pub port: u16,
}

impl TargetArgs {
    /// The gateways, each on this machine or confirmed.
    pub fn target(&self) -> anyhow::Result<Target> {
        let gateways = self.target.iter().map(|url| gateway(url)).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!gateways.is_empty(), "--target names no gateway");
        for Gateway { host, .. } in &gateways {
            ensure!(
                is_loopback(host) || self.confirm_target.contains(host),
                "{host} is another machine: to load it, say --confirm-target {host}"
            );
        }
        Ok(Target { gateways })
    }
}

impl Target {
    /// The gateway of the n-th shopper: in turn.
    pub fn of(&self, shopper: usize) -> &Gateway {
        &self.gateways[shopper % self.gateways.len()]
    }

    /// All gateways.
    pub fn gateways(&self) -> &[Gateway] {
        &self.gateways
    }
}

impl Gateway {
    /// Where its REST API is.
    pub fn http(&self) -> String {
        format!("http://{}:{}", self.host, self.port)
    }

    /// Where its sockets are.
    pub fn ws(&self) -> String {
        format!("ws://{}:{}/ws", self.host, self.port)
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

fn gateway(text: &str) -> anyhow::Result<Gateway> {
    let url = Url::parse(text).with_context(|| format!("--target {text}: expected ws://host:port"))?;
    if url.scheme() != "ws" {
        bail!("--target {text}: expected ws://host:port (measure behind what ends TLS)");
    }
    let host = url.host_str().context("--target names no host")?.to_owned();
    Ok(Gateway { host, port: url.port_or_known_default().unwrap_or(80) })
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(target: &[&str], confirmed: &[&str]) -> TargetArgs {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        TargetArgs {
            target: owned(target),
            confirm_target: owned(confirmed),
            admin_email: String::new(),
            admin_password: String::new(),
            seed: 1,
        }
    }

    #[test]
    fn this_machine_needs_no_confirmation_and_others_do() {
        for here in ["ws://127.0.0.1:8080", "ws://127.9.9.9:1", "ws://[::1]:8080", "ws://localhost"] {
            assert!(arguments(&[here], &[]).target().is_ok(), "{here}");
        }
        for there in
            ["ws://10.0.0.1:8080", "ws://shop.example", "ws://127.0.0.1.shop.example", "ws://0.0.0.0:1"]
        {
            assert!(arguments(&[there], &[]).target().is_err(), "{there}");
        }
        assert!(arguments(&["ws://shop.example:81"], &["shop.example"]).target().is_ok());
        assert!(arguments(&["ws://shop.example", "ws://other.example"], &["shop.example"]).target().is_err());
        assert!(arguments(&["http://127.0.0.1:8080"], &[]).target().is_err());
    }

    #[test]
    fn shoppers_are_spread_in_turn() {
        let target = arguments(&["ws://127.0.0.1:1", "ws://127.0.0.1:2"], &[]).target().unwrap();
        assert_eq!([0, 1, 2].map(|shopper| target.of(shopper).port), [1, 2, 1]);
    }
}
