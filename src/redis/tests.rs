//! The connection against real servers that are emptied, paused, killed and misconfigured.

use std::{path::Path, process::Command, time::Duration};

use fred::{interfaces::LuaInterface, types::Value};
use tokio::time::Instant;

use super::{
    ConnectError, Redis, RedisError, Script,
    testing::{OwnRedis, own, quick, tell, until},
};
use crate::results::{
    port::{Heard, Results},
    redis::{RedisResults, RedisResultsSettings},
};

static COUNT: Script =
    Script::new("count", &["local by = ARGV[1]", "return redis.call('INCRBY', KEYS[1], by)"]);

async fn count(redis: &Redis) -> Result<Value, RedisError> {
    redis.run(&COUNT, vec![redis.key("promo:1", "count")], vec![Value::from(1)]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgot_a_script_is_told_it_again() {
    let (_server, redis) = own().await;
    assert_eq!(count(&redis).await.unwrap(), Value::from(1));
    redis.commands().script_flush(false).await.unwrap();
    assert_eq!(count(&redis).await.unwrap(), Value::from(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_pauses_costs_each_call_its_time_out_and_nothing_more() {
    let (server, redis) = own().await;
    assert!(redis.is_well());
    server.pause();
    let asked = Instant::now();
    let error = count(&redis).await.unwrap_err();
    assert!(error.may_have_happened(), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    until("the pause is noticed", async || !redis.is_well()).await;
    server.resume();
    until("it is well again", async || redis.is_well() && count(&redis).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_is_used_again_once_it_is_back() {
    let (mut server, redis) = own().await;
    count(&redis).await.unwrap();
    server.kill();
    assert!(count(&redis).await.is_err());
    until("the loss is noticed", async || !redis.is_well()).await;
    server.start_again();
    until("it is well again", async || redis.is_well() && count(&redis).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_takes_no_writes_is_not_well() {
    let (primary, replica) = (OwnRedis::start(&[]), OwnRedis::start(&[]));
    let redis = Redis::connect(&quick(replica.url())).await.unwrap();
    assert!(redis.is_well());
    tell(&redis, "REPLICAOF", &["127.0.0.1", &primary.port().to_string()]).await;
    until("it is known as a replica", async || !redis.is_well()).await;
    assert!(matches!(count(&redis).await.unwrap_err(), RedisError::Refused(_)));
    tell(&redis, "REPLICAOF", &["NO", "ONE"]).await;
    until("it is a primary again", async || redis.is_well()).await;
}

/// One server that holds all slots is a cluster already, to a client.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_written_to_and_listened_to_like_one_server() {
    let server = OwnRedis::start(&["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"]);
    let port = server.port().to_string();
    let slots = ["-p", &port, "CLUSTER", "ADDSLOTSRANGE", "0", "16383"];
    assert!(Command::new("redis-cli").args(slots).output().unwrap().status.success());
    let redis = Redis::connect(&quick(format!("redis-cluster://127.0.0.1:{port}"))).await.unwrap();
    until("it is well", async || redis.is_well()).await;
    assert_eq!(count(&redis).await.unwrap(), Value::from(1));

    let bus = RedisResults::connect(&redis, RedisResultsSettings::default()).await.unwrap();
    let mut subscription = bus.subscribe();
    let news = format!("{}news", redis.prefix());
    redis.publish(&news, r#"["promo:3",1,1,"",[["r"]]]"#.to_owned()).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(20), subscription.next()).await.unwrap();
    assert!(matches!(heard, Heard::Events(_)), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_cannot_succeed_says_why() {
    let mut server = OwnRedis::start(&["--requirepass", "secret"]);
    let address = format!("127.0.0.1:{}", server.port());
    let redis = Redis::connect(&quick(format!("redis://:secret@{address}"))).await.unwrap();
    count(&redis).await.unwrap();
    let wrong = Redis::connect(&quick(format!("redis://:wrong@{address}"))).await.err().unwrap();
    assert!(matches!(wrong, ConnectError::Refused(_)), "{wrong}");
    assert!(!wrong.to_string().contains("wrong@"), "{wrong}");
    let nonsense = Redis::connect(&quick("http://127.0.0.1")).await.err().unwrap();
    assert!(matches!(nonsense, ConnectError::Settings(_)), "{nonsense}");
    server.kill();
    let mut settings = quick(format!("redis://:secret@{address}"));
    settings.start_wait = Duration::from_millis(300);
    let nobody = Redis::connect(&settings).await.err().unwrap();
    assert!(matches!(nobody, ConnectError::NoAnswer { .. }), "{nobody}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_server_is_believed_if_its_authority_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path());
    let authority = folder.path().join("ca.pem");
    let server = OwnRedis::start_in(
        folder,
        &[
            "--tls-cert-file",
            "server.pem",
            "--tls-key-file",
            "server.key",
            "--tls-ca-cert-file",
            "ca.pem",
            "--tls-auth-clients",
            "no",
            "--requirepass",
            "secret",
        ],
    );
    let url = format!("rediss://:secret@127.0.0.1:{}", server.port());
    let mut settings = quick(url);
    settings.ca_file = Some(authority.clone());
    let redis = Redis::connect(&settings).await.unwrap();
    count(&redis).await.unwrap();
    assert!(redis.is_well());

    settings.ca_file = Some(authority.with_file_name("server.key"));
    let no_certificates = Redis::connect(&settings).await.err().unwrap();
    assert!(matches!(no_certificates, ConnectError::Settings(_)), "{no_certificates}");
    settings.ca_file = Some(authority.with_file_name("other.pem"));
    settings.start_wait = Duration::from_millis(500);
    assert!(Redis::connect(&settings).await.is_err(), "an authority that did not sign it is not believed");
}

/// An authority `ca.pem`, a certificate by it for 127.0.0.1, and another authority.
fn certificate(folder: &Path) {
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    for line in [
        format!("req -x509 {new_key} -keyout ca.key -out ca.pem -subj /CN=authority"),
        format!("req -x509 {new_key} -keyout other.key -out other.pem -subj /CN=other"),
        format!(
            "req -x509 {new_key} -keyout server.key -out server.pem -subj /CN=server -CA ca.pem -CAkey ca.key \
             -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
        ),
    ] {
        let output =
            Command::new("openssl").args(line.split_whitespace()).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
