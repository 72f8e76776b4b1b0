//! One line per scenario for people, one object per scenario for programs.

use crate::measure::Measured;
use std::fmt::Write;

/// How many kinds of loss are shown before the rest is summed up.
const KINDS: usize = 6;

/// The line above the others.
pub(crate) const TITLE: &str = "\
scenario             connections  requests  answered  lost  refused  retryable  exit after  status";

/// Formats a scenario: one line, then what went wrong, if anything did.
pub(crate) fn text(measured: &Measured) -> String {
    let tally = &measured.tally;
    let statuses: Vec<_> = measured.statuses.iter().map(String::as_str).collect();
    let mut lines = vec![format!(
        "{:<20} {:>11} {:>9} {:>9} {:>5} {:>8} {:>10} {:>9.3} s  {}",
        measured.name,
        tally.connections,
        tally.requests,
        tally.answered,
        tally.lost(),
        tally.refused,
        tally.retryable,
        measured.slowest_exit.as_secs_f64(),
        statuses.join(", "),
    )];
    let mut losses: Vec<_> = tally.losses.iter().collect();
    losses.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let rest: u64 = losses.iter().skip(KINDS).map(|(_, count)| **count).sum();
    lines.extend(
        losses
            .iter()
            .take(KINDS)
            .map(|(loss, count)| format!("  lost {count:>5}  {loss}")),
    );
    if rest > 0 {
        lines.push(format!(
            "  lost {rest:>5}  in {} other ways",
            losses.len() - KINDS
        ));
    }
    lines.extend(
        tally
            .wrong
            .iter()
            .map(|(status, count)| format!("  wrong {count:>4}  answers with status {status}")),
    );
    if tally.truncations > 0 {
        lines.push(format!(
            "  {} TLS connections ended without close_notify",
            tally.truncations
        ));
    }
    lines.join("\n")
}

/// Formats all scenarios as a JSON array. Every string in it is one of ours and needs no escape.
pub(crate) fn json(all: &[Measured]) -> String {
    let objects: Vec<_> = all.iter().map(object).collect();
    format!("[\n{}\n]\n", objects.join(",\n"))
}

fn object(measured: &Measured) -> String {
    let tally = &measured.tally;
    let mut text = format!("  {{\"scenario\": \"{}\"", measured.name);
    let numbers = [
        ("connections", tally.connections),
        ("requests", tally.requests),
        ("answered", tally.answered),
        ("lost", tally.lost()),
        ("wrong", tally.wrong.values().sum()),
        ("refused", tally.refused),
        ("retryable", tally.retryable),
        ("truncations", tally.truncations),
    ];
    for (key, value) in numbers {
        let _ = write!(text, ", \"{key}\": {value}");
    }
    let losses: Vec<_> = tally
        .losses
        .iter()
        .map(|(loss, count)| format!("\"{loss}\": {count}"))
        .collect();
    let statuses: Vec<_> = measured
        .statuses
        .iter()
        .map(|status| format!("\"{status}\""))
        .collect();
    let exit = measured.slowest_exit.as_secs_f64();
    let _ = write!(
        text,
        ", \"losses\": {{{}}}, \"exit_after\": {exit:.3}",
        losses.join(", ")
    );
    let _ = write!(text, ", \"statuses\": [{}]}}", statuses.join(", "));
    text
}
