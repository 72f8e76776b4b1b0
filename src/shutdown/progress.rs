//! [`Progress`]: what a hook of a shutdown is told.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use crate::{Observer, Phase, Straggler, Stragglers};

/// Tells how a shutdown is getting on, to the hooks of
/// [`Shutdown::on_progress`](crate::Shutdown::on_progress).
///
/// Its [`Display`](fmt::Display) is one line: `SIGTERM: draining, 3 in flight, 12 idle, at most
/// 11 s, oldest GET /export 9.4 s, from src/x.rs:55:20`.
///
/// ```
/// use std::{future::pending, sync::mpsc, time::Duration};
/// use async_drain::{Drain, Shutdown};
///
/// let drain = Drain::new();
/// let (lines, seen) = mpsc::channel();
/// let shutdown = Shutdown::new(&drain).on_progress(Duration::from_secs(5), move |progress| {
///     let _ = lines.send(progress.to_string());
/// });
/// drain.begin();
/// let report = smol::block_on(shutdown.run(pending::<()>()));
/// assert!(report.is_drained());
/// let seen: Vec<_> = seen.iter().collect();
/// assert!(seen[0].starts_with("begun by the program: draining, 0 in flight, at most "));
/// assert_eq!(seen[1], "all work has finished: drained");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Progress {
    /// What has just happened, in words, e.g. `SIGTERM` or `the grace period is over`; `None` if
    /// only time has passed.
    pub event: Option<Cow<'static, str>>,
    /// Set if an operator should look: more than half of the grace period has passed, work is
    /// being cancelled, or something failed.
    pub warning: bool,
    /// The stage of shutdown. The last one is aborting if guards are still alive when the shutdown
    /// is over.
    pub phase: Phase,
    /// The name of the step that runs, set from when it begins until it has ended.
    pub step: Option<Cow<'static, str>>,
    /// Set if the drain is [ready](crate::Readiness) for new work; `false` from lame duck on.
    pub ready: bool,
    /// How many guards are alive. Idle connections are not among them.
    pub in_flight: usize,
    /// How many connections are between requests. Draining waits until each has been closed.
    pub idle: usize,
    /// The oldest guard, set if the drain [tracks](crate::Drain::tracked) them and one is alive.
    pub oldest: Option<Straggler>,
    /// How long the phase or step may still last; `None` while running, and if nothing limits it.
    pub phase_left: Option<Duration>,
    /// How long the whole shutdown may still last; `None` while running, and if nothing limits it.
    pub left: Option<Duration>,
    /// Set if the executor has polled the shutdown for this call, which proves that it isn't
    /// blocked: always under [`run`](crate::Shutdown::run). Under
    /// [`run_with_watchdog`](crate::Shutdown::run_with_watchdog), set if the hook
    /// [asked](Self::call_again_within) for the call.
    pub polled: bool,
    /// The two guards after the oldest.
    #[cfg_attr(
        not(feature = "log"),
        allow(dead_code, reason = "only logs ask for them")
    )]
    pub(crate) next_oldest: Vec<Straggler>,
    pub(super) drain: Observer,
    pub(super) asked: Asked,
}

impl Progress {
    /// Returns the guards that are alive and, once aborting has begun, the work that was abandoned.
    ///
    /// Unlike reading a field, this call takes time: it copies the record of each tracked guard.
    #[must_use]
    pub fn stragglers(&self) -> Stragglers {
        let node = self.drain.node();
        if self.phase >= Phase::Aborting {
            node.abandoned()
        } else {
            node.stragglers()
        }
    }

    /// Returns what tells why the program is not [`ready`](Self::ready).
    #[cfg(all(feature = "systemd", target_os = "linux"))]
    pub(crate) fn readiness(&self) -> crate::Readiness {
        self.drain.readiness()
    }

    /// Asks for the next call of this hook within a given time, even if nothing has changed by
    /// then, and even while the drain runs. It holds for one call, and is at least 10 ms.
    ///
    /// A supervisor that restarts a program which no longer reports itself needs this; without it,
    /// no timer runs before the shutdown starts. The call comes only once the executor has polled
    /// the shutdown, which the field [`polled`](Self::polled) says: if the executor is blocked, the
    /// supervisor hears nothing, under [`run_with_watchdog`](crate::Shutdown::run_with_watchdog),
    /// too.
    pub fn call_again_within(&self, within: Duration) {
        self.asked.set(within);
    }
}

/// When a hook wants to be called again, in milliseconds; zero if it did not ask.
#[derive(Debug, Default)]
pub(super) struct Asked(AtomicUsize);

impl Asked {
    fn set(&self, within: Duration) {
        let millis = usize::try_from(within.as_millis()).unwrap_or(usize::MAX);
        // Relaxed, here and below: only the hook that is being called sets it.
        self.0.store(millis.max(1), Ordering::Relaxed);
    }

    /// Returns what was asked for since the last call.
    pub(super) fn take(&self) -> Option<Duration> {
        match self.0.swap(0, Ordering::Relaxed) {
            0 => None,
            millis => Some(Duration::from_millis(millis.try_into().unwrap_or(u64::MAX))),
        }
    }
}

impl Clone for Asked {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = OneLine(f);
        if let Some(event) = &self.event {
            write!(f, "{event}: ")?;
        }
        match &self.step {
            Some(step) => write!(f, "step {step}")?,
            None => write!(f, "{}", self.phase)?,
        }
        if self.phase < Phase::Drained {
            write!(f, ", {} in flight", self.in_flight)?;
            if self.idle > 0 {
                write!(f, ", {} idle", self.idle)?;
            }
        }
        if let Some(left) = self.left.filter(|left| !left.is_zero()) {
            write!(f, ", at most {}", Seconds(left))?;
        }
        if let (Some(oldest), true) = (&self.oldest, self.phase > Phase::Running) {
            write!(f, ", oldest {}", Named(oldest))?;
        }
        Ok(())
    }
}

/// Displays a guard as a part of a line.
pub(crate) struct Named<'a>(pub(crate) &'a Straggler);

impl fmt::Display for Named<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.0.label.as_deref().unwrap_or("unlabeled");
        let age = Seconds(self.0.age);
        write!(OneLine(f), "{label} {age}, from {}", self.0.place)
    }
}

/// Writes each control character as a space: labels, names and errors are user code.
struct OneLine<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            let line = part.trim_end_matches(char::is_control);
            self.0.write_str(line)?;
            if line.len() < part.len() {
                self.0.write_char(' ')?;
            }
        }
        Ok(())
    }
}

/// Displays seconds as a person would write them: `0.3 s`, `9.4 s`, `5 s`, `11 s`.
pub(crate) struct Seconds(pub(crate) Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0.as_millis() + 50) / 100;
        if tenths >= 100 || tenths % 10 == 0 {
            write!(f, "{} s", (tenths + 5) / 10)
        } else {
            write!(f, "{}.{} s", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::time::Duration;

    use super::Seconds;

    #[test]
    fn seconds_are_written_as_a_person_writes_them() {
        let cases = [
            (0, "0 s"),
            (49, "0 s"),
            (50, "0.1 s"),
            (949, "0.9 s"),
            (950, "1 s"),
            (5_000, "5 s"),
            (9_449, "9.4 s"),
            (9_960, "10 s"),
            (10_960, "11 s"),
            (3_600_000, "3600 s"),
        ];
        for (millis, text) in cases {
            assert_eq!(Seconds(Duration::from_millis(millis)).to_string(), text);
        }
    }
}
