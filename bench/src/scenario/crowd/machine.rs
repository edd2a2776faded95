//! What the kernel tells of servers on this machine: which process listens where, and when memory has come to rest.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::process;

/// `TCP_LISTEN` in the kernel's tables.
const LISTENS: &str = "0A";
/// How often memory is looked at while it comes to rest.
const LOOK: Duration = Duration::from_millis(500);
/// It is at rest when it has not moved by more than [`MOVES`] in so many looks.
const LOOKS: usize = 8;
/// The part of it, or so many bytes.
const MOVES: f64 = 0.005;
const MOVES_BYTES: u64 = 512 * 1024;
/// How long it may take to come to rest.
const RESTS_WITHIN: Duration = Duration::from_mins(2);

/// The process that listens at this port of this machine.
pub fn listener(port: u16) -> anyhow::Result<u32> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .find_map(|table| inode_of(&table, port))
        .with_context(|| format!("nobody listens at port {port}"))?;
    let wanted = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if holds(&process.path().join("fd"), &wanted) {
            return Ok(pid);
        }
    }
    bail!("the process that listens at port {port} cannot be seen: name it with --server-pid")
}

/// Whether a process has this file open. Others' processes cannot be looked into, and are not the one.
fn holds(folder: &Path, wanted: &str) -> bool {
    let Ok(files) = std::fs::read_dir(folder) else { return false };
    files.flatten().any(|file| std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == wanted))
}

/// The inode of the socket that listens at this port, in a table of `/proc/net`.
fn inode_of(table: &str, port: u16) -> Option<u64> {
    let port = format!("{port:04X}");
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (_, local) = fields.get(1)?.rsplit_once(':')?;
        let is_it = local == port && *fields.get(3)? == LISTENS;
        if is_it { fields.get(9)?.parse().ok() } else { None }
    })
}

/// Resident memory of each process, once it has come to rest.
pub async fn resting_rss(processes: &[u32]) -> anyhow::Result<Vec<u64>> {
    let until = Instant::now() + RESTS_WITHIN;
    let mut seen: Vec<u64> = Vec::new();
    loop {
        let now = processes
            .iter()
            .map(|pid| Ok(process::usage(*pid)?.rss_bytes))
            .collect::<anyhow::Result<Vec<_>>>()?;
        seen.push(now.iter().sum());
        if is_at_rest(&seen) {
            return Ok(now);
        }
        if Instant::now() > until {
            bail!("the servers' memory does not come to rest: {} bytes by now", now.iter().sum::<u64>());
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of bytes"
)]
fn is_at_rest(seen: &[u64]) -> bool {
    let Some(latest) = seen.last_chunk::<LOOKS>() else { return false };
    let (low, high) = (latest.iter().min().copied().unwrap_or(0), latest.iter().max().copied().unwrap_or(0));
    high - low <= MOVES_BYTES.max((high as f64 * MOVES) as u64)
}

/// Bytes of the kernel's own objects, open sockets among them, of the whole machine.
pub fn kernel_bytes() -> anyhow::Result<u64> {
    slab_of(&std::fs::read_to_string("/proc/meminfo")?).context("/proc/meminfo has no Slab")
}

fn slab_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("Slab:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// Connections that found a full queue of those to be accepted, of the whole machine since it began: each tries again after a
/// second, and then after ever longer.
pub fn connections_dropped() -> anyhow::Result<u64> {
    let counters = std::fs::read_to_string("/proc/net/netstat")?;
    counter(&counters, "TcpExt:", "ListenDrops").context("/proc/net/netstat has no ListenDrops")
}

/// A counter of a table in which a line of names is followed by a line of numbers.
fn counter(table: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = table.lines().filter(|line| line.starts_with(group));
    let nth = lines.next()?.split_whitespace().position(|word| word == name)?;
    lines.next()?.split_whitespace().nth(nth)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 111 1 0\n\
            \x20  1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 222 1 0\n";
        assert_eq!(inode_of(table, 8080), Some(222));
        assert_eq!(inode_of(table, 8081), None);
    }

    #[test]
    fn this_process_listens() {
        let listening = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listening.local_addr().unwrap().port();
        assert_eq!(listener(port).unwrap(), std::process::id());
    }

    #[test]
    fn memory_is_at_rest_when_it_has_not_moved_for_a_while() {
        let steady = vec![100 << 20; LOOKS];
        assert!(is_at_rest(&steady));
        assert!(!is_at_rest(&steady[1..]));
        let growing: Vec<u64> = (0..LOOKS as u64).map(|look| (100 + look) << 20).collect();
        assert!(!is_at_rest(&growing));
    }

    #[test]
    fn a_counter_is_below_its_name() {
        let table = "TcpExt: A ListenDrops B\nTcpExt: 1 22 3\nIpExt: C\nIpExt: 4\n";
        assert_eq!(counter(table, "TcpExt:", "ListenDrops"), Some(22));
        assert_eq!(counter(table, "IpExt:", "ListenDrops"), None);
        connections_dropped().unwrap();
    }

    #[test]
    fn the_kernels_objects_are_counted() {
        assert_eq!(slab_of("MemTotal: 9 kB\nSlab:   2 kB\n"), Some(2048));
        assert!(kernel_bytes().unwrap() > 0);
    }
}
