//! A Redis Cluster of three servers: pools on different ones, and news from all of them.

use std::{
    collections::HashSet,
    net::TcpListener,
    process::{Command, Stdio},
};

use fred::{interfaces::ClusterInterface, util::redis_keyslot};

use super::fixture_on;
use crate::{
    redis::{
        Redis,
        testing::{OwnRedis, quick, until},
    },
    reservation::conformance::conformance,
};

struct Cluster {
    servers: Vec<OwnRedis>,
}

impl Cluster {
    async fn start() -> Self {
        let servers: Vec<OwnRedis> = (0..3).map(|_| node()).collect();
        let addresses = servers.iter().map(|server| format!("127.0.0.1:{}", server.port()));
        let created = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses)
            .args(["--cluster-yes"])
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(created.success(), "redis-cli made a cluster of them");
        let cluster = Self { servers };
        until("every server knows the whole cluster", async || cluster.servers.iter().all(is_ok)).await;
        cluster
    }

    async fn connect(&self) -> Redis {
        let url = format!("redis-cluster://127.0.0.1:{}", self.servers[0].port());
        Redis::connect(&quick(url)).await.unwrap()
    }
}

fn node() -> OwnRedis {
    let bus = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    OwnRedis::start(&["--cluster-enabled", "yes", "--cluster-port", &bus])
}

fn is_ok(server: &OwnRedis) -> bool {
    let output = Command::new("redis-cli")
        .args(["-p", &server.port().to_string(), "cluster", "info"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    text.contains("cluster_state:ok") && text.contains("cluster_known_nodes:3")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_promise_is_kept_by_a_cluster() {
    let cluster = Cluster::start().await;
    let redis = cluster.connect().await;
    let routing = redis.commands().next_connected().cached_cluster_state().unwrap();
    let server = |pool| routing.get_server(redis_keyslot(redis.key(pool, "ledger").as_bytes())).cloned();
    let servers: HashSet<_> = ["promo:3", "item:8", "item:9"].into_iter().map(server).collect();
    assert_eq!(servers.len(), 3, "the pools of the promises lie on different servers");

    let open = async || fixture_on(cluster.connect().await).await;
    conformance!(all: open);
}
