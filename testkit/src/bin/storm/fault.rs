//! Faults of the system that the server runs on.

use fastrand::Rng;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What this machine can do to a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Means {
    strace: bool,
    clock: bool,
}

impl Means {
    /// Finds out, and says what is not to be had.
    pub(crate) fn find() -> Self {
        let works = |words: &[&str]| {
            let mut command = Command::new(words[0]);
            command.args(&words[1..]).arg("true");
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        let means = Self {
            strace: works(&["strace", "-D", "-f", "-o", "/dev/null"]),
            clock: works(&FUTURE),
        };
        if !means.strace {
            println!("SKIPPED: faults of system calls, for want of a strace that works");
        }
        if !means.clock {
            println!("SKIPPED: a clock far in the future, for want of time namespaces");
        }
        means
    }
}

/// Runs a command 120 years after the machine was started; the kernel's own limit is 146.
const FUTURE: [&str; 4] = [
    "unshare",
    "--time",
    "--monotonic=3800000000",
    "--boottime=3800000000",
];

/// What is wrong with the system in a round. Nothing here excuses a lost request: the calls fail
/// before they do anything, and would succeed if they were made again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The clock is far in the future.
    Clock,
    /// A system call fails now and then.
    Call(Call),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    name: &'static str,
    error: &'static str,
    /// Which calls of each thread fail, as strace spells it.
    when: String,
}

/// What may fail. `epoll_create1` is also called at the start, which must succeed; `sendto` also by
/// the signal handler, which can't try again and need not: a call that doesn't block is never
/// interrupted.
const CALLS: &[(&str, &[&str], Rhythm)] = &[
    (
        "accept4",
        &["EMFILE", "ENFILE", "ENOBUFS", "ECONNABORTED", "EINTR"],
        Rhythm::NowAndThen,
    ),
    ("accept4", &["EMFILE", "ECONNABORTED"], Rhythm::Burst),
    ("epoll_pwait", &["EINTR"], Rhythm::NowAndThen),
    ("recvfrom", &["EINTR"], Rhythm::NowAndThen),
    ("epoll_create1", &["EMFILE"], Rhythm::Later),
];

#[derive(Clone, Copy)]
enum Rhythm {
    NowAndThen,
    Burst,
    Later,
}

impl Fault {
    pub(crate) fn draw(rng: &mut Rng, means: Means) -> Self {
        match rng.u8(..10) {
            0 if means.clock => Self::Clock,
            1..=6 if means.strace => {
                let (name, errors, rhythm) = CALLS[rng.usize(..CALLS.len())];
                let when = match rhythm {
                    Rhythm::NowAndThen => format!("{}+{}", rng.u8(1..9), rng.u8(2..9)),
                    Rhythm::Burst => {
                        let from = rng.u8(5..60);
                        format!("{from}..{}", from + rng.u8(2..9))
                    }
                    Rhythm::Later => format!("{}+", rng.u8(2..5)),
                };
                let error = errors[rng.usize(..errors.len())];
                Self::Call(Call { name, error, when })
            }
            _ => Self::None,
        }
    }

    /// Returns the command that runs `server` with this fault. Its process is the server's own:
    /// signals reach it, and its exit status is the server's.
    pub(crate) fn command(&self, server: &Path) -> Command {
        let words: Vec<OsString> = match self {
            Self::None => Vec::new(),
            Self::Clock => FUTURE.iter().map(Into::into).collect(),
            Self::Call(call) => {
                let inject = format!(
                    "inject={}:error={}:when={}",
                    call.name, call.error, call.when
                );
                let trace = format!("trace={}", call.name);
                // The tracer is a grandchild (-D), and only the calls in question are stopped for.
                let words = [
                    "strace",
                    "-D",
                    "-f",
                    "--seccomp-bpf",
                    "-qqq",
                    "-o",
                    "/dev/null",
                ];
                let options = ["-e", &trace, "-e", &inject];
                words.iter().chain(&options).map(Into::into).collect()
            }
        };
        let mut words = words.into_iter();
        let Some(program) = words.next() else {
            return Command::new(server);
        };
        let mut command = Command::new(program);
        command.args(words).arg(server);
        command
    }
}

/// Returns the last line that the server wrote to `stderr`: its tracer complains there as well,
/// when it could not make a call fail.
pub(crate) fn last_word(stderr: &str) -> &str {
    let mut lines = stderr.lines();
    lines
        .rfind(|line| !line.starts_with("strace: "))
        .unwrap_or_default()
}

/// What the summary counts by.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Clock => f.write_str("clock in the future"),
            Self::Call(call) => write!(f, "{} {}", call.name, call.error),
        }
    }
}
