//! The report: how a shutdown ended.

use std::{
    error::Error,
    fmt,
    io::{self, Write},
    process::{ExitCode, Termination},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

mod straggler;

use self::straggler::MOST_LINES;
pub use self::straggler::{Straggler, Stragglers};
use crate::shutdown::{Step, hooks::Faults, steps::Shown};

/// Tells how a shutdown ended: drained, or with work abandoned; how long each phase took, and which
/// work was left.
///
/// Its [`Display`](fmt::Display) is a block of at most 20 lines, if the failures of the server and
/// of steps are one line each. The last line is the summary.
///
/// As the [`Termination`] that `main` returns, it prints itself to stderr. The exit status is 0 if
/// everything drained, and 1 if work was abandoned, or the server or a step failed;
/// [`exit_status`](Self::exit_status) tells abandoned work from a failure. If stderr is closed, or
/// is a pipe without a reader, that delays the exit by a second at most and does not change its
/// status.
///
/// ```
/// # use async_drain::Drain;
/// # use futures_lite::future::{block_on, pending};
/// let report = block_on(Drain::new().finish(pending::<()>()));
/// assert!(report.is_drained());
/// assert!(report.to_string().starts_with("drained: 0 in flight when draining began"));
/// ```
#[derive(Debug)]
#[must_use = "the report says whether work was abandoned"]
pub struct Report {
    in_flight: usize,
    pub(crate) lame_duck: Duration,
    pub(crate) draining: Duration,
    pub(crate) aborting: Duration,
    /// Set if work was abandoned.
    abandoned: Option<Abandoned>,
    /// Set if the server failed.
    failure: Option<Box<dyn Error + Send + Sync>>,
    /// What went wrong beside the work: a line for each hook and stream that failed, and one if
    /// `stuck` of the watchdog panicked.
    faults: Vec<String>,
    /// How each step ended, in order.
    steps: Vec<Step>,
    /// The exit status if work was abandoned.
    status: u8,
}

/// The work that was abandoned.
#[derive(Debug)]
struct Abandoned {
    stragglers: Stragglers,
    /// How many guards were still alive when the report was made: their work ignored the abort.
    still_running: usize,
}

impl Report {
    pub(crate) fn begun(in_flight: usize) -> Self {
        Self {
            in_flight,
            lame_duck: Duration::ZERO,
            draining: Duration::ZERO,
            aborting: Duration::ZERO,
            abandoned: None,
            failure: None,
            faults: Vec::new(),
            steps: Vec::new(),
            status: 1,
        }
    }

    /// Sets what was abandoned, if anything, and how many guards are left now that the report is
    /// made.
    pub(crate) fn abandoned(&mut self, stragglers: Stragglers, left: usize) {
        if stragglers.total() > 0 {
            self.abandoned = Some(Abandoned {
                still_running: left.min(stragglers.total_alive()),
                stragglers,
            });
        }
    }

    pub(crate) fn failed(&mut self, error: Box<dyn Error + Send + Sync>) {
        self.failure = Some(error);
    }

    /// Adds what went wrong with progress hooks.
    pub(crate) fn hooks_failed(&mut self, faults: &Faults) {
        self.panicked("a progress hook", &faults.panics);
        if let Some(place) = faults.blocked {
            let text = format!("a progress hook has not returned, from {place}");
            self.faults.push(text);
        }
    }

    /// Adds with which messages streams of requests panicked.
    pub(crate) fn requests_panicked(&mut self, messages: &[String]) {
        self.panicked("a stream of requests to stop", messages);
    }

    /// Adds with which message the function for a blocked executor panicked.
    pub(crate) fn stuck_panicked(&mut self, message: String) {
        self.panicked("the watchdog's `stuck`", &[message]);
    }

    fn panicked(&mut self, what: &str, messages: &[String]) {
        let lines = messages.iter().map(|message| {
            let message = message.lines().next().unwrap_or_default();
            format!("{what} panicked: {message}")
        });
        self.faults.extend(lines);
    }

    pub(crate) fn step_ended(&mut self, step: Step) {
        self.steps.push(step);
    }

    fn failed_steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.failure.is_some())
    }

    /// Sets the exit status for abandoned work, so that it can be told from a server or a step that
    /// failed: that is status 1, even if both happened.
    ///
    /// ```no_run
    /// # use async_drain::{Drain, Report, Shutdown};
    /// # async fn serve(drain: &Drain) {}
    /// fn main() -> Report {
    ///     let drain = Drain::new();
    ///     smol::block_on(Shutdown::new(&drain).run(serve(&drain))).exit_status(3)
    /// }
    /// ```
    pub fn exit_status(mut self, abandoned: u8) -> Self {
        self.status = abandoned;
        self
    }

    /// Returns whether all work in flight finished. The server or a [step](Self::steps) may have
    /// [failed](Self::failure) nevertheless.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.abandoned.is_none()
    }

    /// Returns how many guards were alive when draining began.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Returns how long lame duck took.
    #[must_use]
    pub fn lame_duck(&self) -> Duration {
        self.lame_duck
    }

    /// Returns how long draining took.
    #[must_use]
    pub fn draining(&self) -> Duration {
        self.draining
    }

    /// Returns how long aborting took.
    #[must_use]
    pub fn aborting(&self) -> Duration {
        self.aborting
    }

    /// Returns the work that was abandoned: the guards that were alive when aborting began, and the
    /// work that was lost with its connection.
    #[must_use]
    pub fn stragglers(&self) -> &Stragglers {
        static NONE: Stragglers = Stragglers::none();
        (self.abandoned.as_ref()).map_or(&NONE, |abandoned| &abandoned.stragglers)
    }

    /// Returns how many of the stragglers were still alive when the report was made: they ignored
    /// the abort.
    #[must_use]
    pub fn still_running(&self) -> usize {
        (self.abandoned.as_ref()).map_or(0, |abandoned| abandoned.still_running)
    }

    /// Returns how each [step](crate::Shutdown::then) ended, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Returns why the server failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.failure.as_deref()
    }
}

impl Report {
    /// Writes a line for each failure, and returns their number: few enough that the stragglers
    /// have lines, too.
    fn write_failures(&self, f: &mut fmt::Formatter<'_>) -> Result<usize, fmt::Error> {
        const MOST_STEPS: usize = 8;
        const MOST_FAULTS: usize = 4;
        let mut lines = 0;
        if let Some(error) = &self.failure {
            writeln!(f, "the server failed: {}", Shown(error.as_ref()))?;
            lines += 1;
        }
        let failed = self.failed_steps().count();
        let shown = if failed > MOST_STEPS {
            MOST_STEPS - 1
        } else {
            failed
        };
        for step in self.failed_steps().take(shown) {
            writeln!(f, "{step}")?;
        }
        lines += shown;
        if failed > shown {
            writeln!(f, "{} more steps failed", failed - shown)?;
            lines += 1;
        }
        let shown = self.faults.len().min(MOST_FAULTS);
        for (number, fault) in self.faults.iter().take(shown).enumerate() {
            write!(f, "{fault}")?;
            match self.faults.len() - shown {
                more if more > 0 && number + 1 == shown => writeln!(f, " (and {more} more)")?,
                _ => writeln!(f)?,
            }
        }
        lines += shown;
        Ok(lines)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = MOST_LINES - 1 - self.write_failures(f)?;
        match &self.abandoned {
            Some(Abandoned { stragglers, .. }) => {
                stragglers.write(f, lines)?;
                f.write_str(if stragglers.total_alive() > 0 {
                    "\naborted: "
                } else {
                    "\ndrained with losses: "
                })?;
            }
            None => f.write_str("drained: ")?,
        }
        write!(f, "{} in flight when draining began, ", self.in_flight)?;
        match &self.abandoned {
            Some(abandoned) => {
                write!(f, "{} abandoned", abandoned.stragglers.total())?;
                if abandoned.still_running > 0 {
                    write!(f, ", {} of them still running", abandoned.still_running)?;
                }
            }
            None => f.write_str("none abandoned")?,
        }
        f.write_str(";")?;
        let mut comma = "";
        for (phase, took) in [
            ("lame duck", self.lame_duck),
            ("draining", self.draining),
            ("aborting", self.aborting),
        ] {
            if phase == "draining" || !took.is_zero() {
                write!(f, "{comma} {phase} {took:.1?}")?;
                comma = ",";
            }
        }
        if !self.steps.is_empty() {
            let took: Duration = self.steps.iter().map(|step| step.took).sum();
            write!(f, ", steps {took:.1?}")?;
        }
        Ok(())
    }
}

impl Termination for Report {
    fn report(self) -> ExitCode {
        let code = if self.failure.is_some() || self.failed_steps().next().is_some() {
            ExitCode::FAILURE
        } else if self.is_drained() {
            ExitCode::SUCCESS
        } else {
            self.status.into()
        };
        self.print();
        code
    }
}

impl Report {
    /// Prints the report to stderr, in a thread that this waits for: writing may fail, or last for
    /// ever if a pipe is full, and the text of the server's failure is user code, which may panic
    /// (L3).
    fn print(self) {
        const LONGEST: Duration = Duration::from_secs(1);
        let printed = Printed::default();
        let printing = Printing(printed.clone());
        // Without a thread it can't be printed in bounded time, and nothing is waited for.
        let _ = thread::Builder::new().spawn(move || {
            // Moved as a whole, so that it is dropped at the end and not here.
            let _printing = printing;
            // In one piece, so that lines of other threads don't come between.
            let text = format!("{self}\n");
            // If stderr is closed, the report has no reader.
            let _ = io::stderr().write_all(text.as_bytes());
        });
        let (done, changed) = &*printed;
        let done = done.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = changed.wait_timeout_while(done, LONGEST, |done| !*done);
    }
}

/// Tells whether the report was printed. A channel would add 32 KB to each server.
type Printed = Arc<(Mutex<bool>, Condvar)>;

/// Held while the report is printed. Its drop ends the wait, even if printing panics.
struct Printing(Printed);

impl Drop for Printing {
    fn drop(&mut self) {
        let (done, changed) = &*self.0;
        *done.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_one();
    }
}
