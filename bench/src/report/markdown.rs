//! The report as Markdown, for `bench/RESULTS.md`. Pure.

use std::fmt::Write;

use super::{Done, Report, targets::At, targets::Target};
use crate::found::Found;

/// Renders the whole report.
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut text, report);
    text
}

fn write_all(text: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(text, "# Results\n")?;
    writeln!(text, "Made on {} by `{}`.\n", report.made_at, report.command)?;
    writeln!(
        text,
        "Load generator, gateways, writers and servers shared this one machine. Latencies count from the moment"
    )?;
    writeln!(
        text,
        "a shopper meant to act (open-loop arrivals). Ranges are the lowest and the highest repeat.\n"
    )?;
    if let Some(load) = report.busy() {
        writeln!(
            text,
            "**The machine was not quiet**: the load average was up to {load:.1} before a step. Rates are too low and"
        )?;
        writeln!(text, "latencies too high; `other_cores` tells what other programs took.\n")?;
    }
    writeln!(text, "## Targets\n\n| target | measured | wanted | |\n|---|---|---|---|")?;
    for target in &report.targets {
        writeln!(
            text,
            "| {} (`{}`) | {} | {} | {} |",
            target.what,
            target.name,
            value(target),
            wanted(target),
            met(target)
        )?;
    }
    writeln!(text, "\n## Where\n")?;
    for (name, what) in report.machine.iter().chain(&report.versions) {
        writeln!(text, "- {name}: {what}")?;
    }
    writeln!(
        text,
        "- engines: {}, {} gateway(s), {} writer(s)",
        report.engines, report.gateways, report.writers
    )?;
    let settings = report.server_settings.join(" ");
    writeln!(
        text,
        "- server settings beside the defaults: {}",
        if settings.is_empty() { "none" } else { &settings }
    )?;
    report.steps.iter().try_for_each(|step| write_step(text, step))
}

fn write_step(text: &mut String, step: &Done) -> std::fmt::Result {
    writeln!(text, "\n## {}\n\n`{}`\n", step.name, step.command)?;
    writeln!(text, "Took {:.0} s; the load average before it was {:.1}.", step.took_s, step.load_before)?;
    if let Some(error) = &step.error {
        writeln!(text, "\nFailed: {error}")?;
    }
    let Some(found) = &step.found else { return Ok(()) };
    writeln!(text, "\n| number | value | lowest to highest |\n|---|---:|---|")?;
    for (name, number) in &found.numbers {
        if name.ends_with("_min") || name.ends_with("_max") {
            continue;
        }
        writeln!(text, "| {name} | {} | {} |", figure(*number), spread(found, name))?;
    }
    if !found.latencies.is_empty() {
        writeln!(
            text,
            "\n| latency, ms | count | p50 | p90 | p99 | p99.9 | max |\n|---|---:|---:|---:|---:|---:|---:|"
        )?;
    }
    for (name, latency) in &found.latencies {
        let [p50, p90, p99, p999, max] =
            [latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p999_ms, latency.max_ms].map(figure);
        writeln!(text, "| {name} | {} | {p50} | {p90} | {p99} | {p999} | {max} |", latency.count)?;
    }
    let faults: Vec<_> = found.faults.iter().map(|(name, count)| format!("{name} {count}")).collect();
    if !faults.is_empty() {
        writeln!(text, "\nFaults: {}.", faults.join(", "))?;
    }
    Ok(())
}

/// The lowest and the highest repeat, where they were noted.
fn spread(found: &Found, name: &str) -> String {
    let bound = |end: &str| found.numbers.get(&format!("{name}_{end}")).copied().map(figure);
    match (bound("min"), bound("max")) {
        (Some(min), Some(max)) => format!("{min} – {max}"),
        _ => String::new(),
    }
}

/// A target's measured value.
pub fn value(target: &Target) -> String {
    target.value.map_or("not measured".to_owned(), figure)
}

/// What a target wants.
pub fn wanted(target: &Target) -> String {
    let side = match target.at {
        At::Least => "≥",
        At::Most => "≤",
    };
    format!("{side} {}", figure(target.wanted))
}

/// Whether a target is met, as a word.
pub fn met(target: &Target) -> &'static str {
    if target.met { "met" } else { "**not met**" }
}

/// A number with as many digits as mean something.
pub fn figure(number: f64) -> String {
    let size = number.abs();
    let digits = match size {
        _ if number.fract() == 0.0 || size >= 100.0 => 0,
        _ if size >= 10.0 => 1,
        _ => 2,
    };
    format!("{number:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_what_they_mean() {
        assert_eq!([0.0, 0.123, 12.34, 1234.5, 3.0].map(figure), ["0", "0.12", "12.3", "1234", "3"]);
    }

    #[test]
    fn a_missed_target_is_shown_as_missed() {
        let target = Target {
            name: "orders_vs_classic".to_owned(),
            what: "times".to_owned(),
            value: None,
            wanted: 10.0,
            at: At::Least,
            met: false,
        };
        assert_eq!((value(&target).as_str(), wanted(&target).as_str()), ("not measured", "≥ 10"));
        assert_eq!(met(&target), "**not met**");
    }
}
