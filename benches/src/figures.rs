//! The figures of a bench: printed as a table, judged by its targets, and kept as one JSON object a
//! line.

use std::{fmt::Write as _, fs::OpenOptions, io::Write as _, path::PathBuf};

use serde_json::json;

use crate::paired::Ratios;

/// Returns the file for the figures: `FIGURES`, or one in the target directory.
#[must_use]
pub fn path() -> PathBuf {
    std::env::var_os("FIGURES").map_or_else(
        || concat!(env!("CARGO_MANIFEST_DIR"), "/target/figures.jsonl").into(),
        PathBuf::from,
    )
}

/// The figures of one bench.
#[derive(Debug)]
pub struct Figures {
    bench: &'static str,
    unit: &'static str,
    rows: Vec<(String, Vec<(String, f64)>)>,
    columns: Vec<String>,
    targets: Vec<Target>,
}

/// A figure that should be within a bound.
#[derive(Clone, Debug)]
struct Target {
    what: String,
    value: f64,
    /// Set if the value is a median over rounds: where it is with 95 % confidence.
    interval: Option<(f64, f64)>,
    bound: Bound,
}

impl Target {
    /// Returns whether the target is met; `None` if it was not measured, or the interval lies on
    /// both sides of the bound.
    fn met(&self) -> Option<bool> {
        let (from, to) = self.interval.unwrap_or((self.value, self.value));
        if from.is_nan() || to.is_nan() {
            return None;
        }
        let met = self.bound.met(from);
        (met == self.bound.met(to)).then_some(met)
    }

    fn verdict(&self) -> &'static str {
        match self.met() {
            Some(true) => "met",
            Some(false) => "MISSED",
            None if self.value.is_nan() => "NOT MEASURED, too busy",
            None => "NOT SHOWN",
        }
    }
}

/// What a figure should be. One that couldn't be measured is `NaN`, and meets nothing.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn parts(self) -> (&'static str, f64) {
        match self {
            Self::AtMost(limit) => ("at most", limit),
            Self::AtLeast(limit) => ("at least", limit),
        }
    }

    #[must_use]
    pub fn met(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }
}

impl Figures {
    /// Creates an empty table; `unit` says what its numbers are.
    #[must_use]
    pub fn new(bench: &'static str, unit: &'static str) -> Self {
        Self {
            bench,
            unit,
            rows: Vec::new(),
            columns: Vec::new(),
            targets: Vec::new(),
        }
    }

    /// Adds what `who` took in `case`.
    pub fn add(&mut self, case: &str, who: &str, value: f64) {
        if value.is_nan() {
            return;
        }
        if !self.columns.iter().any(|c| c == case) {
            self.columns.push(case.into());
        }
        let cell = (case.to_owned(), value);
        match self.rows.iter_mut().find(|(name, _)| name == who) {
            Some((_, cells)) => cells.push(cell),
            None => self.rows.push((who.into(), vec![cell])),
        }
    }

    pub fn target(&mut self, what: impl Into<String>, value: f64, bound: Bound) {
        self.targets.push(Target {
            what: what.into(),
            value,
            interval: None,
            bound,
        });
    }

    /// Adds a target for the median of `ratios`, which is met or missed only if the whole interval
    /// says so.
    pub fn interval(&mut self, what: impl Into<String>, ratios: &Ratios, bound: Bound) {
        self.targets.push(Target {
            what: what.into(),
            value: ratios.median(),
            interval: Some(ratios.interval()),
            bound,
        });
    }

    /// Prints the table and its targets, and appends all of it to [`path`].
    ///
    /// # Panics
    ///
    /// If the file can't be written, since figures must not be lost silently.
    pub fn publish(self) {
        self.print();
        let mut lines = String::new();
        for (who, cells) in &self.rows {
            for (case, value) in cells {
                let value = rounded(*value);
                let line = json!({ "bench": self.bench, "unit": self.unit, "case": case, "who": who, "value": value });
                let _ = writeln!(lines, "{line}");
            }
        }
        for target in &self.targets {
            let (kind, limit) = target.bound.parts();
            let mut line = json!({ "bench": self.bench, "target": target.what,
                "value": rounded(target.value), "bound": kind, "limit": limit, "met": target.met() });
            if let Some((from, to)) = target.interval {
                line["interval"] = json!([rounded(from), rounded(to)]);
            }
            let _ = writeln!(lines, "{line}");
        }
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path())
            .expect("the file for the figures");
        file.write_all(lines.as_bytes()).expect("room for figures");
    }

    fn print(&self) {
        println!("\n## {}: {}\n", self.bench, self.unit);
        let first = self.rows.iter().map(|(who, _)| who.chars().count()).max();
        let first = first.unwrap_or(0);
        let widths: Vec<_> = (self.columns.iter())
            .map(|c| c.chars().count().max(8))
            .collect();
        print!("| {:first$} |", "");
        for (column, width) in self.columns.iter().zip(&widths) {
            print!(" {column:>width$} |");
        }
        print!("\n|:{}-|", "-".repeat(first));
        for width in &widths {
            print!("-{}:|", "-".repeat(*width));
        }
        println!();
        for (who, cells) in &self.rows {
            print!("| {who:first$} |");
            for (column, width) in self.columns.iter().zip(&widths) {
                let cell = cells.iter().find(|(case, _)| case == column);
                let cell = cell.map_or(String::new(), |(_, value)| shown(*value));
                print!(" {cell:>width$} |");
            }
            println!();
        }
        println!();
        for target in &self.targets {
            let (kind, limit) = target.bound.parts();
            let interval = target.interval.map_or(String::new(), |(from, to)| {
                format!(", {} to {}", shown(from), shown(to))
            });
            let (verdict, what, value) = (target.verdict(), &target.what, shown(target.value));
            println!("{verdict:>6}: {what}: {value}{interval} ({kind} {limit})");
        }
    }
}

/// Formats a value with three digits, and large numbers without fractions.
#[must_use]
pub fn shown(value: f64) -> String {
    if value >= 100.0 || value > 1.0 && value.fract() == 0.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
