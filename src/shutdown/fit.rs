//! Whether a shutdown fits into the time that a supervisor allows.

use std::{
    error::Error,
    fmt::{self, Write as _},
    time::{Duration, Instant},
};

/// The parts of a shutdown, by name, in order; a part that takes no time is left out.
pub(super) struct Parts(Vec<(&'static str, Option<Duration>)>);

impl Parts {
    pub(super) fn new(parts: impl IntoIterator<Item = (&'static str, Option<Duration>)>) -> Self {
        let limited = |duration: Duration| Instant::now().checked_add(duration).map(|_| duration);
        let parts = parts.into_iter();
        let parts = parts.map(|(name, duration)| (name, duration.and_then(limited)));
        Self(parts.filter(|(_, d)| *d != Some(Duration::ZERO)).collect())
    }

    /// Returns the sum; `None` if nothing limits one of them.
    pub(super) fn sum(&self) -> Option<Duration> {
        let mut parts = self.0.iter();
        parts.try_fold(Duration::ZERO, |sum, (_, duration)| {
            sum.checked_add((*duration)?)
        })
    }

    pub(super) fn fit(&self, total: Duration) -> Result<(), DoesNotFit> {
        let sum = self.sum();
        if sum.is_some_and(|sum| sum <= total) {
            return Ok(());
        }
        let mut text = String::new();
        for (name, duration) in &self.0 {
            let plus = if text.is_empty() { "" } else { " + " };
            // Writing to a string can't fail.
            let _ = match duration {
                Some(duration) => write!(text, "{plus}{name} {}", Exact(*duration)),
                None => write!(text, "{plus}{name} without a limit"),
            };
        }
        if let (Some(sum), true) = (sum, self.0.len() > 1) {
            let _ = write!(text, " = {}", Exact(sum));
        }
        let total = Exact(total);
        let _ = write!(
            text,
            ", more than {total}: shorten one, or allow the process more time"
        );
        Err(DoesNotFit(text.into()))
    }
}

/// Tells that a shutdown takes longer than it may, and what its parts are; returned by
/// [`Shutdown::within`](crate::Shutdown::within).
#[derive(Clone, Debug)]
pub struct DoesNotFit(Box<str>);

impl fmt::Display for DoesNotFit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for DoesNotFit {}

/// Displays seconds without rounding: two that differ must not look the same.
struct Exact(Duration);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = format!("{}.{:09}", self.0.as_secs(), self.0.subsec_nanos());
        let seconds = seconds.trim_end_matches('0').trim_end_matches('.');
        write!(f, "{seconds} s")
    }
}
