//! Server processes: starts them, reads what they use from `/proc`, and ends those it started.

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

/// How long a server may take to say where it listens.
const STARTS_WITHIN: Duration = Duration::from_secs(90);
/// How long a server may take to end when it is asked to.
const ENDS_WITHIN: Duration = Duration::from_secs(30);
/// `/proc` counts processor time in these, on every Linux.
const TICKS_PER_S: f64 = 100.0;

/// A `panicbuy serve` that this program started. Killed if it is dropped.
#[derive(Debug)]
pub struct Server {
    pub address: SocketAddr,
    child: Child,
    pid: u32,
}

/// What a process uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Usage {
    /// Resident memory.
    pub rss_bytes: u64,
    /// Processor time so far, of all threads.
    pub cpu: Duration,
}

impl Server {
    /// Starts `panicbuy serve` on a free loopback port in `folder`, and waits until it says where it listens.
    pub async fn start(program: &Path, flags: &[String], folder: &Path) -> anyhow::Result<Self> {
        let log = std::fs::File::create(folder.join(format!("{}.log", flag_name(flags))))?;
        let mut command = Command::new(program);
        // The server has the settings of the report, and not by chance those of the shell.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PANICBUY_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["serve", "--listen", "127.0.0.1:0", "--log", "warn"])
            .args(flags)
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", program.display()))?;
        let pid = child.id().context("the server has ended already")?;
        let mut lines = BufReader::new(child.stdout.take().context("no standard output")?).lines();
        let line = timeout(STARTS_WITHIN, lines.next_line()).await.context("the server does not start")??;
        let Some(address) = line.as_deref().and_then(|line| line.rsplit("http://").next()) else {
            bail!("the server has ended; its log is in {}", folder.display());
        };
        let address = address.parse().with_context(|| format!("not an address: {address}"))?;
        // A pipe that nobody reads would stop the server one day.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { address, child, pid })
    }

    /// The gateway's URL, as `--target` wants it.
    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Asks the server to end, as a deploy does, and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let asked = Command::new("kill").arg(self.pid.to_string()).status().await?;
        if asked.success() && timeout(ENDS_WITHIN, self.child.wait()).await.is_ok() {
            return Ok(());
        }
        self.child.kill().await.context("the server cannot be ended")
    }
}

/// The name of a server's log: its role and number, as far as its flags tell.
fn flag_name(flags: &[String]) -> String {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let role = flags.iter().position(|flag| flag == "--role").and_then(|at| flags.get(at + 1));
    format!("{}-{number}", role.map_or("server", String::as_str))
}

/// What any process of this machine uses now.
pub fn usage(pid: u32) -> anyhow::Result<Usage> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        std::fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))
    };
    let rss_bytes = rss_of(&read("status")?).context("no VmRSS")?;
    let cpu = cpu_of(&read("stat")?).context("no processor times")?;
    Ok(Usage { rss_bytes, cpu })
}

/// The mean number of cores that were busy between two readings.
pub fn cores(before: Usage, after: Usage, elapsed: Duration) -> f64 {
    after.cpu.saturating_sub(before.cpu).as_secs_f64() / elapsed.as_secs_f64()
}

/// Processor time that this machine has spent so far on all its cores.
pub fn machine_busy() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").context("/proc/stat cannot be read")?;
    busy_of(&stat).context("no processor times in /proc/stat")
}

/// Processor time of several processes over a span of time.
#[derive(Debug)]
pub struct Meter {
    machine: Option<Duration>,
    processes: Vec<(String, u32, Usage)>,
    since: Instant,
}

impl Meter {
    /// Starts to measure these processes, each under a name. Those that cannot be read are left out.
    pub fn start(processes: &[(String, u32)]) -> Self {
        let read = |(name, pid): &(String, u32)| Some((name.clone(), *pid, usage(*pid).ok()?));
        let processes = processes.iter().filter_map(read).collect();
        Self { machine: machine_busy().ok(), processes, since: Instant::now() }
    }

    /// Processor seconds of each process since the start; names that are the same are added up.
    pub fn read(&self) -> std::collections::BTreeMap<String, f64> {
        let mut spent = std::collections::BTreeMap::new();
        for (name, pid, before) in &self.processes {
            if let Ok(after) = usage(*pid) {
                let seconds = after.cpu.saturating_sub(before.cpu).as_secs_f64();
                *spent.entry(name.clone()).or_insert(0.0) += seconds;
            }
        }
        spent
    }

    /// Cores that were busy on average with anything but these processes. `None`: the machine does not tell.
    pub fn other_cores(&self) -> Option<f64> {
        let busy = machine_busy().ok()?.saturating_sub(self.machine?).as_secs_f64();
        let ours: f64 = self.read().values().sum();
        Some((busy - ours).max(0.0) / self.elapsed().as_secs_f64())
    }

    /// How long it has measured.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq.
fn busy_of(stat: &str) -> Option<Duration> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = fields.split_whitespace().take(7).filter_map(|field| field.parse().ok()).collect();
    let [user, nice, system, _, _, irq, softirq] = ticks[..] else { return None };
    Some(Duration::from_secs_f64((user + nice + system + irq + softirq) / TICKS_PER_S))
}

/// A process on the command line: `name=pid`.
pub fn named(text: &str) -> Result<(String, u32), String> {
    let parsed = text.split_once('=').and_then(|(name, pid)| Some((name.to_owned(), pid.parse().ok()?)));
    parsed.ok_or_else(|| "expected name=pid".to_owned())
}

fn rss_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// A program's name may contain anything, so fields are counted from behind it.
fn cpu_of(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some(Duration::from_secs_f64((user + system) / TICKS_PER_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "7 (a) R 1) S 1 7 7 0 -1 4194304 10 0 0 0 150 50 0 0 20 0 1 0 100 0 0";
        assert_eq!(cpu_of(stat), Some(Duration::from_secs(2)));
        let machine = "cpu  100 50 30 9999 9999 5 15 7 0 0\ncpu0 1 1 1 1 1 1 1 0 0 0";
        assert_eq!(busy_of(machine), Some(Duration::from_secs(2)));
        assert_eq!(rss_of("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let before = usage(std::process::id()).unwrap();
        assert!(before.rss_bytes > 100_000);
        let until = Instant::now() + Duration::from_secs(5);
        while usage(std::process::id()).unwrap().cpu == before.cpu {
            assert!(Instant::now() < until, "no processor time was counted");
        }
    }
}
