//! A tiny sale on a real server with the embedded engines: the harness runs it, and the auditor finds it in order.
//!
//! The server's program is the one that `PANICBUY_BIN` names; `scripts/test` sets it. Without it, the one beside the tests is
//! taken, where `cargo build` puts it.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

const ADMIN_EMAIL: &str = "admin@bench.example";
const ADMIN_PASSWORD: &str = "a password for the smoke test";

/// A running server, killed at the end.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(program())
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "warn"])
            .args(["--admin-email", ADMIN_EMAIL, "--admin-password", ADMIN_PASSWORD])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server's program starts: cargo build, or set PANICBUY_BIN");
        let output = child.stdout.take().expect("it is piped");
        let line = BufReader::new(output).lines().next().expect("the server says where it listens").unwrap();
        let address = line.rsplit("http://").next().unwrap();
        Self { url: format!("ws://{address}"), child }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    let beside = || Path::new(env!("CARGO_BIN_EXE_panicbuy-bench")).with_file_name("panicbuy");
    std::env::var_os("PANICBUY_BIN").map_or_else(beside, PathBuf::from)
}

fn bench(server: &Server, line: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_panicbuy-bench"))
        .args(line.split(' '))
        .args(["--target", &server.url])
        .args(["--admin-email", ADMIN_EMAIL, "--admin-password", ADMIN_PASSWORD])
        .output()
        .unwrap()
}

#[track_caller]
fn found(output: &Output) -> serde_json::Value {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let faults = found["faults"].as_object().unwrap();
    assert!(!faults.is_empty() && faults.values().all(|count| count == 0), "{found}");
    found
}

#[test]
fn small_sales_are_run_and_found_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());

    let sale = found(&bench(&server, "stampede --shoppers 60 --stock 40 --rate 200 --lobby-s 3"));
    assert_eq!(sale["numbers"]["orders"], 40.0, "{sale}");
    assert_eq!(sale["numbers"]["in_lobby"], 60.0, "{sale}");
    assert_eq!(sale["latencies"]["outcome"]["count"], 40, "{sale}");

    let orders = found(&bench(
        &server,
        "orders --shoppers 60 --rate 60 --duration-s 0.5 --warm-up-s 0 --repeats 2 --spacing even",
    ));
    assert_eq!(orders["numbers"]["orders_audited"], 60.0, "{orders}");
    assert_eq!(orders["latencies"]["accepted"]["count"], 60, "{orders}");

    let refused = found(&bench(&server, "soldout --shoppers 20 --rate 50 --duration-s 0.5 --repeats 1"));
    assert!(refused["numbers"]["refusals_no_pass"].as_f64().is_some_and(|count| count > 0.0), "{refused}");
}

#[test]
fn other_machines_are_not_loaded_by_mistake() {
    let output = Command::new(env!("CARGO_BIN_EXE_panicbuy-bench"))
        .args(["stampede", "--target", "ws://shop.invalid:80"])
        .args(["--admin-email", ADMIN_EMAIL, "--admin-password", ADMIN_PASSWORD])
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("--confirm-target shop.invalid"));
}
