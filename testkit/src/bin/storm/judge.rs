//! Judges whether the server kept its promises.

use crate::hostile::STUCK_LABELS;
use crate::plan::Plan;
use crate::round::Played;
use std::time::Duration;

/// How late a process may end: the watchdog's allowance, and what a loaded machine needs.
const SLACK: Duration = Duration::from_millis(1500);

/// Returns the promises that were not kept, a line each.
pub(crate) fn violations(plan: &Plan, played: &Played) -> Vec<String> {
    let mut all = Vec::new();
    all.extend(late(plan, played));
    all.extend(report(plan, played));
    all.extend(panics(played));
    all.extend(losses(plan, played));
    all
}

/// How the last line of stderr must sum it up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Drained,
    Abandoned {
        count: usize,
        /// How many of them ignored the abort.
        running: usize,
    },
}

impl Ended {
    pub(crate) fn of(played: &Played) -> Option<Self> {
        let line = &played.exit.report;
        if line.starts_with("drained: ") && line.contains("none abandoned") {
            return Some(Self::Drained);
        }
        let (before, after) = ["aborted: ", "drained with losses: "]
            .iter()
            .find_map(|summary| line.strip_prefix(summary))?
            .split_once(" abandoned")?;
        let running = match after.strip_prefix(", ") {
            Some(running) => running.split(' ').next()?.parse().ok()?,
            None => 0,
        };
        let count = before.rsplit(' ').next()?.parse().ok()?;
        Some(Self::Abandoned { count, running })
    }
}

/// L3: the sum of lame duck, grace and abort grace; steps that are due while the process is frozen
/// happen once it is thawed.
fn late(plan: &Plan, played: &Played) -> Option<String> {
    let settings = &plan.settings;
    let heard = played.heard?;
    let cut = heard + settings.lame_duck + settings.grace;
    let cut = played.thawed.map_or(cut, |thawed| thawed.max(cut));
    let due = cut + settings.abort_grace + SLACK;
    let late = played.exit.at.saturating_duration_since(due);
    if played.killed {
        return Some("the process did not end and was killed".to_owned());
    }
    (!late.is_zero()).then(|| format!("the process ended {late:?} after its budget and {SLACK:?}"))
}

fn report(plan: &Plan, played: &Played) -> Option<String> {
    let code = played.exit.status.code();
    let ended = Ended::of(played);
    let stuck = plan.stuck();
    let fits = match (ended, code) {
        (Some(Ended::Drained), Some(0)) => stuck == 0,
        // Work for clients is cut as well, if the server could not do it in time.
        (Some(Ended::Abandoned { count, .. }), Some(1)) if plan.excuses_losses() => count > 0,
        (Some(Ended::Abandoned { count, running }), Some(1)) => {
            count == stuck && running == plan.blocks()
        }
        _ => false,
    };
    if !fits {
        let line = &played.exit.report;
        return Some(format!(
            "{stuck} peers were stuck, and it ended with {code:?} and '{line}'"
        ));
    }
    if plan.excuses_losses() {
        return None;
    }
    let mut stragglers = played.exit.stderr.lines().filter_map(|line| {
        (line.strip_prefix("still in flight: ")).or_else(|| line.strip_prefix("abandoned: "))
    });
    stragglers
        .find(|name| !STUCK_LABELS.iter().any(|label| name.starts_with(label)))
        .map(|name| format!("this was abandoned, though no hostile peer had asked for it: {name}"))
}

fn panics(played: &Played) -> Option<String> {
    let lines: Vec<_> = played.exit.stderr.lines().collect();
    let mut panics = lines
        .windows(2)
        .filter(|pair| pair[0].contains(" panicked at "));
    panics
        .find(|pair| pair[1] != "asked to panic")
        .map(|pair| format!("{}: {}", pair[0], pair[1]))
}

fn losses(plan: &Plan, played: &Played) -> Vec<String> {
    if plan.excuses_losses() {
        return Vec::new();
    }
    let tally = &played.tally;
    let lost = played.losses.iter().cloned();
    let wrong = tally
        .wrong
        .iter()
        .map(|(status, count)| format!("{count} wrong answers with status {status}"));
    let cut = (tally.truncations > 0)
        .then(|| format!("{} TLS connections without close_notify", tally.truncations));
    let unplayed = (tally.answered == 0).then(|| "no request was answered".to_owned());
    lost.chain(wrong).chain(cut).chain(unplayed).collect()
}
