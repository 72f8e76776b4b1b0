//! The results of all rounds, by the fault that was injected.

use crate::judge::Ended;
use crate::plan::Plan;
use crate::round::Played;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

/// A table of counts.
#[derive(Debug, Default)]
pub(crate) struct Summary(BTreeMap<String, Row>);

#[derive(Debug, Default, Clone, Copy)]
struct Row {
    rounds: u64,
    violations: u64,
    connections: u64,
    requests: u64,
    retryable: u64,
    /// Requests lost in rounds that excuse it.
    excused: u64,
    hostile: u64,
    freezes: u64,
    abandoned: u64,
}

impl Summary {
    pub(crate) fn add(&mut self, plan: &Plan, played: Option<&Played>, violations: usize) {
        let row = self.0.entry(plan.fault.to_string()).or_default();
        row.rounds += 1;
        row.violations += violations as u64;
        row.hostile += plan.hostile.len() as u64;
        row.freezes += plan.freezes.len() as u64 + u64::from(plan.overslept);
        let Some(played) = played else { return };
        row.connections += played.tally.connections;
        row.requests += played.tally.requests;
        row.retryable += played.tally.retryable;
        if plan.excuses_losses() {
            row.excused += played.tally.lost();
        }
        if let Some(Ended::Abandoned { count, .. }) = Ended::of(played) {
            row.abandoned += count as u64;
        }
    }

    pub(crate) fn rounds(&self) -> u64 {
        self.0.values().map(|row| row.rounds).sum()
    }

    /// Returns whether nothing was violated, and something was tried.
    pub(crate) fn is_clean(&self) -> bool {
        self.rounds() > 0 && self.0.values().all(|row| row.violations == 0)
    }
}

impl AddAssign for Row {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.violations += other.violations;
        self.connections += other.connections;
        self.requests += other.requests;
        self.retryable += other.retryable;
        self.excused += other.excused;
        self.hostile += other.hostile;
        self.freezes += other.freezes;
        self.abandoned += other.abandoned;
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<24} {:>6} {:>11} {:>8} {:>9} {:>7} {:>7} {:>7} {:>9} {:>10}",
            "fault",
            "rounds",
            "connections",
            "requests",
            "retryable",
            "excused",
            "hostile",
            "freezes",
            "abandoned",
            "violations"
        )?;
        let mut total = Row::default();
        for (fault, row) in &self.0 {
            total += *row;
            row.line(f, fault)?;
            writeln!(f)?;
        }
        total.line(f, "all")
    }
}

impl Row {
    fn line(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        write!(
            f,
            "{name:<24} {:>6} {:>11} {:>8} {:>9} {:>7} {:>7} {:>7} {:>9} {:>10}",
            self.rounds,
            self.connections,
            self.requests,
            self.retryable,
            self.excused,
            self.hostile,
            self.freezes,
            self.abandoned,
            self.violations,
        )
    }
}
