//! The report as one page that needs nothing else: tables, and plots as SVG. Pure.

use std::fmt::Write;

use super::{Done, Report, markdown, plots};
use crate::found::Found;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}\
    table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:left}\
    td.n{text-align:right;font-variant-numeric:tabular-nums}.met{color:#0a6b2d}.missed{color:#b00020;font-weight:bold}\
    svg{max-width:100%;height:auto}code{background:#f3f3f3;padding:.1rem .3rem}summary{cursor:pointer}";

/// Renders the whole report. Writing to a string cannot fail, so what `write!` says is let go.
pub fn render(report: &Report) -> anyhow::Result<String> {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>PanicBuying: measurements</title><style>{STYLE}</style><h1>PanicBuying: measurements</h1>\
         <p>Made on {} by <code>{}</code>. Load generator, shop and servers shared this one machine; latencies count from the \
         moment a shopper meant to act.</p>",
        escaped(&report.made_at),
        escaped(&report.command),
    );
    if let Some(load) = report.busy() {
        let _ = write!(
            page,
            "<p class=missed>The machine was not quiet: the load average was up to {load:.1} before a step. Rates are too low, \
             latencies too high."
        );
    }
    page.push_str(&targets(report));
    page.push_str(&drawings(report)?);
    page.push_str("<h2>Where</h2><table>");
    for (name, what) in report.machine.iter().chain(&report.versions) {
        let _ = write!(page, "<tr><th>{}<td>{}", escaped(name), escaped(what));
    }
    page.push_str("</table><h2>Steps</h2>");
    report.steps.iter().for_each(|done| page.push_str(&step(done)));
    page.push_str("</html>\n");
    Ok(page)
}

fn targets(report: &Report) -> String {
    let mut table = "<h2>Targets</h2><table><tr><th>target<th>measured<th>wanted<th>".to_owned();
    for target in &report.targets {
        let (class, word) = if target.met { ("met", "met") } else { ("missed", "not met") };
        let _ = write!(
            table,
            "<tr><td>{}<td class=n>{}<td class=n>{}<td class={class}>{word}",
            escaped(&target.what.replace('`', "")),
            markdown::value(target),
            markdown::wanted(target),
        );
    }
    table + "</table>"
}

fn drawings(report: &Report) -> anyhow::Result<String> {
    let found =
        |name: &str| report.steps.iter().find(|done| done.name == name).and_then(|done| done.found.as_ref());
    let mut all = String::new();
    let rate = |name: &str, number: &str| found(name).and_then(|found| found.numbers.get(number)).copied();
    let bars: Vec<_> = [
        ("usual design", rate("classic", "textbook_orders_per_s")),
        ("the same with a short lock", rate("classic", "short_lock_orders_per_s")),
        ("orders over sockets", rate("orders", "rate_per_s")),
        ("batched inserts alone", rate("ceiling", "batched_orders_per_s")),
        ("sold-out refusals", rate("soldout", "rate_per_s")),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    all.push_str(&plots::bars("Rates beside the usual design and the ceiling", "per second", &bars)?);
    if let Some(orders) = found("orders") {
        all.push_str(&of_orders(orders)?);
    }
    Ok(all)
}

fn of_orders(orders: &Found) -> anyhow::Result<String> {
    let curve = |name: &str| orders.latencies.get(name).map(|found| found.curve.clone()).unwrap_or_default();
    let latency = plots::latency(
        "Latency of orders by percentile",
        &[
            ("accepted, highest rate", curve("accepted")),
            ("outcome, highest rate", curve("outcome")),
            ("accepted, half of it", curve("half_accepted")),
            ("outcome, half of it", curve("half_outcome")),
        ],
    )?;
    let points = |name: &str| orders.series.get(name).cloned().unwrap_or_default();
    let over_time = plots::lines(
        "A round at the highest rate",
        "seconds since the start",
        "per second",
        &[("due", points("due_per_s_over_s")), ("outcomes", points("outcomes_per_s_over_s"))],
    )?;
    Ok(latency + &over_time)
}

fn step(done: &Done) -> String {
    let mut text = format!(
        "<details><summary><b>{}</b>: <code>{}</code></summary><p>{:.0} s; load average before it {:.1}",
        escaped(&done.name),
        escaped(&done.command),
        done.took_s,
        done.load_before,
    );
    if let Some(error) = &done.error {
        let _ = write!(text, "<p class=missed>{}", escaped(error));
    }
    if let Some(found) = &done.found {
        text.push_str("<table>");
        for (name, number) in &found.numbers {
            let _ = write!(text, "<tr><td>{}<td class=n>{}", escaped(name), markdown::figure(*number));
        }
        for (name, count) in &found.faults {
            let class = if *count == 0 { "met" } else { "missed" };
            let _ = write!(text, "<tr><td>fault: {}<td class=\"n {class}\">{count}", escaped(name));
        }
        text.push_str("</table>");
    }
    text + "</details>"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
