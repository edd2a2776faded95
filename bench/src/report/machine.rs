//! What the figures were taken on: the machine, the versions, and how busy it was with other things.

use std::collections::BTreeMap;

use tokio::process::Command;

/// Processor, memory, kernel and system.
pub fn describe() -> BTreeMap<String, String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let after = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once([':', '=']))
            .map_or("unknown".to_owned(), |(_, value)| value.trim().trim_matches('"').to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    BTreeMap::from([
        ("processor".to_owned(), after(&read("/proc/cpuinfo"), "model name")),
        ("cores".to_owned(), cores.to_string()),
        ("memory".to_owned(), after(&read("/proc/meminfo"), "MemTotal")),
        ("kernel".to_owned(), read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("system".to_owned(), after(&read("/etc/os-release"), "PRETTY_NAME")),
    ])
}

/// Processes that ran or wanted to, on average over the last minute: 0 on a quiet machine before a step.
pub fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(f64::NAN)
}

/// What a program says with these arguments; "unknown" if it says nothing.
pub async fn told(program: &std::path::Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().await;
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        _ => "unknown".to_owned(),
    }
}
