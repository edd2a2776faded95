//! The real program as a process of its own, to be killed.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, ExitStatus, Stdio},
};

use super::{ADMIN_EMAIL, ADMIN_PASSWORD, eventually, home::Home};

/// A running `panicbuy serve`.
pub struct Process {
    pub address: SocketAddr,
    child: Child,
}

impl Process {
    /// Starts the program in this home; `failpoints` are those of the `fail` crate.
    pub fn start(home: &Home, failpoints: &str, flags: &[&str]) -> Self {
        let mut child = command(home)
            .args(flags)
            .env("FAILPOINTS", failpoints)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.next().expect("the program says where it listens").unwrap();
        let address = line.rsplit("http://").next().unwrap().parse().unwrap();
        Self { address, child }
    }

    /// Starts the program where it cannot run; returns what it says.
    pub fn refused(home: &Home) -> String {
        let output = command(home).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    }

    /// Waits until the program has died by itself.
    pub async fn died(mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the program's death", || std::future::ready(child.try_wait().unwrap())).await
    }

    /// Asks the program to stop, as a deploy does, and waits until it has.
    pub fn terminate(mut self) {
        let asked = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(asked.success());
        assert!(self.child.wait().unwrap().success(), "a clean end");
    }

    /// Kills the program: SIGKILL, no goodbye.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// `panicbuy serve` in this home.
fn command(home: &Home) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_panicbuy"));
    command.arg("serve").args(["--listen", "127.0.0.1:0", "--log", "warn"]).args(home.flags()).args([
        "--admin-email",
        ADMIN_EMAIL,
        "--admin-password",
        ADMIN_PASSWORD,
    ]);
    command
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
