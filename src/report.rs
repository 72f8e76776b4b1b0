use std::{
    error::Error,
    fmt,
    io::{self, Write},
    process::{ExitCode, Termination},
    sync::mpsc,
    thread,
    time::Duration,
};

use crate::{Stragglers, straggler::MOST_LINES};

/// How it ended: drained, or with work abandoned; how long each phase took, and who was left.
///
/// Its [`Display`](fmt::Display) is one readable block whose last line says it all: at most 20 lines, if the server's
/// failure is one.
///
/// As a [`Termination`], returned by `main`, it prints itself to stderr, and is exit status 0 if everything
/// drained, and 1 if work was abandoned or the server failed; [`exit_status`](Self::exit_status) tells these two apart. A
/// stderr that is closed, or a pipe that nobody reads, delays the exit by a second at most and does not change its status.
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
    cut: Option<Cut>,
    failure: Option<Box<dyn Error + Send + Sync>>,
    /// The exit status if work was abandoned.
    status: u8,
}

/// Work was cut: what there was when aborting began, and how much of it ignored that.
#[derive(Debug)]
struct Cut {
    stragglers: Stragglers,
    deaf: usize,
}

impl Report {
    pub(crate) fn begun(in_flight: usize) -> Self {
        Self {
            in_flight,
            lame_duck: Duration::ZERO,
            draining: Duration::ZERO,
            aborting: Duration::ZERO,
            cut: None,
            failure: None,
            status: 1,
        }
    }

    /// What was abandoned, if anything, and how many guards are left now that the report is made.
    pub(crate) fn abandoned(&mut self, stragglers: Stragglers, left: usize) {
        let deaf = left.min(stragglers.total());
        if stragglers.total() > 0 {
            self.cut = Some(Cut { stragglers, deaf });
        }
    }

    pub(crate) fn failed(&mut self, error: Box<dyn Error + Send + Sync>) {
        self.failure = Some(error);
    }

    /// Exits with status `abandoned` if work was abandoned, so that it can be told from a server that failed: that is status
    /// 1, also if both happened.
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

    /// Whether all work in flight finished. The server may have [failed](Self::failure) nevertheless.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        self.cut.is_none()
    }

    /// How many guards were alive when draining began.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How long lame duck took.
    #[must_use]
    pub fn lame_duck(&self) -> Duration {
        self.lame_duck
    }

    /// How long draining took.
    #[must_use]
    pub fn draining(&self) -> Duration {
        self.draining
    }

    /// How long aborting took.
    #[must_use]
    pub fn aborting(&self) -> Duration {
        self.aborting
    }

    /// The guards that were alive when aborting began: the work that was abandoned.
    #[must_use]
    pub fn stragglers(&self) -> &Stragglers {
        static NONE: Stragglers = Stragglers::none();
        self.cut.as_ref().map_or(&NONE, |cut| &cut.stragglers)
    }

    /// How many of the stragglers were still alive when the report was made: they ignored the abort.
    #[must_use]
    pub fn still_running(&self) -> usize {
        self.cut.as_ref().map_or(0, |cut| cut.deaf)
    }

    /// Why the server failed, if it did.
    #[must_use]
    pub fn failure(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.failure.as_deref()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = MOST_LINES - 1;
        if let Some(error) = &self.failure {
            writeln!(f, "the server failed: {error}")?;
            lines -= 1;
        }
        match &self.cut {
            Some(cut) => {
                cut.stragglers.write(f, lines)?;
                f.write_str("\naborted: ")?;
            }
            None => f.write_str("drained: ")?,
        }
        write!(f, "{} in flight when draining began, ", self.in_flight)?;
        match &self.cut {
            Some(cut) => {
                write!(f, "{} abandoned", cut.stragglers.total())?;
                if cut.deaf > 0 {
                    write!(f, ", {} of them still running", cut.deaf)?;
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
        Ok(())
    }
}

impl Termination for Report {
    fn report(self) -> ExitCode {
        let code = if self.failure.is_some() {
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
    /// Prints it to stderr, in a thread that is waited for: writing may fail, or last for ever where a pipe is full, and
    /// the text of the server's failure is user code, which may panic (L3).
    fn print(self) {
        const LONGEST: Duration = Duration::from_secs(1);
        let (done, printed) = mpsc::channel();
        let print = move || {
            // In one piece, so that nobody's lines come between.
            let text = format!("{self}\n");
            // Whoever has closed it does not want to know.
            let _ = io::stderr().write_all(text.as_bytes());
            let _ = done.send(());
        };
        // Without a thread it can't be printed in bounded time.
        if thread::Builder::new().spawn(print).is_ok() {
            // An error is a panic, after which there is nothing to wait for.
            let _ = printed.recv_timeout(LONGEST);
        }
    }
}
