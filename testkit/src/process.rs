//! A server as its operator sees it: a process with an address, signals, an exit status and a
//! report on stderr.

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take to say where it listens, and its pipes to close after it is gone.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A running server, which is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    pid: Pid,
    addr: SocketAddr,
    started: Instant,
    signalled: OnceLock<Instant>,
    exited: Receiver<Instant>,
    stdout: Lines,
    stderr: Lines,
}

/// How a server ended.
#[derive(Debug)]
pub struct Exit {
    pub status: ExitStatus,
    /// From the first signal to the exit; from the start, if there was no signal.
    pub elapsed: Duration,
    /// When the process exited.
    pub at: Instant,
    /// All that was written to stderr.
    pub stderr: String,
    /// The last line of stderr, which by the contract of the examples is the report.
    pub report: String,
}

impl Server {
    /// Starts a built example on a free port, with these settings in its environment.
    pub fn start(program: impl AsRef<OsStr>, env: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(program);
        command.env("ADDR", "127.0.0.1:0").envs(env.iter().copied());
        Self::spawn(command)
    }

    /// Starts a command, and waits until it says `listening on ADDR`.
    pub fn spawn(command: Command) -> Result<Self> {
        Self::spawn_with(Stdio::null(), command)
    }

    /// Starts a command with this standard input, and waits until it says `listening on ADDR`.
    pub fn spawn_with(stdin: Stdio, mut command: Command) -> Result<Self> {
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        let mut child = command.spawn().map_err(|error| {
            let program = command.get_program().to_string_lossy().into_owned();
            Error::new(error.kind(), format!("cannot start {program}: {error}"))
        })?;
        let pid = Pid::from_child(&child);
        let stdout = Lines::collect(child.stdout.take());
        let stderr = Lines::collect(child.stderr.take());
        let addr = match address(&stdout) {
            Ok(addr) => addr,
            Err(error) => {
                child.kill()?;
                child.wait()?;
                return Err(Error::new(
                    error.kind(),
                    format!("{error}; stderr: {:?}", stderr.all()),
                ));
            }
        };
        let exited = exit_of(pid);
        Ok(Self {
            child,
            pid,
            addr,
            started,
            signalled: OnceLock::new(),
            exited,
            stdout,
            stderr,
        })
    }

    /// Returns where the server listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns how much processor time it has had.
    #[cfg(target_os = "linux")]
    pub fn processor_time(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_pid()))?;
        // After the name, which may contain anything: user and system time are fields 14 and 15, in
        // ticks.
        let (_, fields) = stat.rsplit_once(')').unwrap_or_default();
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum();
        Ok(Duration::from_secs(ticks) / u32::try_from(clock_ticks_per_second()).unwrap_or(100))
    }

    /// Sends a signal; the first one starts the clock of [`Exit::elapsed`].
    pub fn signal(&self, signal: Signal) -> Result<()> {
        self.signalled.get_or_init(Instant::now);
        Ok(kill_process(self.pid, signal)?)
    }

    /// Returns when the first signal was sent.
    pub fn signalled(&self) -> Option<Instant> {
        self.signalled.get().copied()
    }

    /// Freezes the process and those that it has started, as a loaded machine may do at the worst
    /// moment, and waits until it is frozen.
    pub fn stop(&self) -> Result<()> {
        // The process first: one that waits in vfork(2) for its child freezes only after that has
        // gone on, and a frozen one starts no further child.
        kill_process(self.pid, Signal::STOP)?;
        wait_for(self.pid, WaitIdOptions::STOPPED | WaitIdOptions::EXITED)?;
        self.signal_children(Signal::STOP);
        let begun = Instant::now();
        while children(self.pid).into_iter().any(is_unfrozen) {
            if begun.elapsed() > TIMEOUT {
                return Err(Error::new(ErrorKind::TimedOut, "a child does not freeze"));
            }
            thread::yield_now();
        }
        Ok(())
    }

    /// Lets a frozen process go on.
    pub fn cont(&self) -> Result<()> {
        self.signal_children(Signal::CONT);
        Ok(kill_process(self.pid, Signal::CONT)?)
    }

    /// Sends a signal to those that the process has started.
    fn signal_children(&self, signal: Signal) {
        // Once it has ended, its id may be a stranger's.
        if self.is_running() {
            for child in children(self.pid) {
                let _ = kill_process(child, signal);
            }
        }
    }

    /// Returns whether the process is still running.
    pub fn is_running(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        matches!(waitid(WaitId::Pid(self.pid), options), Ok(None))
    }

    /// Kills the process and those that it has started.
    pub fn kill(&mut self) -> Result<()> {
        self.signal_children(Signal::KILL);
        self.child.kill()
    }

    /// Waits for the process to end by itself; an error of kind [`ErrorKind::TimedOut`] if it does
    /// not.
    pub fn wait(&mut self, timeout: Duration) -> Result<Exit> {
        let exited = self
            .exited
            .recv_timeout(timeout)
            .map_err(|error| match error {
                RecvTimeoutError::Timeout => Error::new(
                    ErrorKind::TimedOut,
                    format!("the server still runs after {timeout:?}"),
                ),
                RecvTimeoutError::Disconnected => Error::other("the server was waited for twice"),
            })?;
        let status = self.child.wait()?;
        let stderr = self.stderr.all();
        Ok(Exit {
            status,
            elapsed: exited.duration_since(self.signalled().unwrap_or(self.started)),
            at: exited,
            report: stderr.lines().next_back().unwrap_or_default().to_owned(),
            stderr,
        })
    }

    /// Waits for a line of stdout that contains this text, and returns it.
    pub fn wait_for_stdout(&self, text: &str, timeout: Duration) -> Result<String> {
        self.stdout.find(timeout, |line| line.contains(text))
    }

    /// Waits for a line of stderr that contains this text, and returns it.
    pub fn wait_for_stderr(&self, text: &str, timeout: Duration) -> Result<String> {
        self.stderr.find(timeout, |line| line.contains(text))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process is gone already.
        let _ = self.kill();
        let _ = self.child.wait();
    }
}

/// Returns the processes that the main thread of this one has started; none where the system can't
/// tell.
fn children(pid: Pid) -> Vec<Pid> {
    let path = format!("/proc/{0}/task/{0}/children", pid.as_raw_pid());
    let children = fs::read_to_string(path).unwrap_or_default();
    children
        .split_whitespace()
        .filter_map(|child| Pid::from_raw(child.parse().ok()?))
        .collect()
}

/// Returns whether a process of another parent runs: nothing tells when it is frozen.
fn is_unfrozen(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    // After the name, which may contain anything.
    let state = (stat.rsplit_once(") ")).and_then(|(_, state)| state.chars().next());
    state.is_some_and(|state| !"TtZX".contains(state))
}

/// Reads the address from the first line of stdout.
fn address(stdout: &Lines) -> Result<SocketAddr> {
    let line = stdout.find(TIMEOUT, |_| true)?;
    let addr = line
        .strip_prefix("listening on ")
        .and_then(|addr| addr.trim().parse().ok());
    addr.ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidData,
            format!("expected `listening on ADDR`, got {line:?}"),
        )
    })
}

/// Waits for the exit in a thread, so that its moment is known however late the test asks.
///
/// The thread leaves the process unreaped: its id cannot pass to a stranger while the owner may
/// still send it a signal.
fn exit_of(pid: Pid) -> Receiver<Instant> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        if wait_for(pid, WaitIdOptions::EXITED).is_ok() {
            // The receiver is gone once the server was dropped.
            let _ = sender.send(Instant::now());
        }
    });
    receiver
}

fn wait_for(pid: Pid, change: WaitIdOptions) -> Result<()> {
    rustix::io::retry_on_intr(|| waitid(WaitId::Pid(pid), change | WaitIdOptions::NOWAIT))?;
    Ok(())
}

/// The lines of a pipe, collected in a thread so that the server never blocks on a full one.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<(Mutex<Text>, Condvar)>);

#[derive(Debug, Default)]
struct Text {
    lines: Vec<String>,
    closed: bool,
}

impl Lines {
    fn collect(pipe: Option<impl Read + Send + 'static>) -> Self {
        let lines = Self::default();
        let writer = lines.clone();
        thread::spawn(move || {
            if let Some(pipe) = pipe {
                let mut parts = BufReader::new(pipe).split(b'\n');
                while let Some(Ok(part)) = parts.next() {
                    writer.change(|text| {
                        text.lines.push(String::from_utf8_lossy(&part).into_owned());
                    });
                }
            }
            writer.change(|text| text.closed = true);
        });
        lines
    }

    fn change(&self, edit: impl FnOnce(&mut Text)) {
        edit(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
    }

    /// Waits for a line that was or will be written.
    fn find(&self, timeout: Duration, matches: impl Fn(&str) -> bool) -> Result<String> {
        let found = |text: &Text| text.lines.iter().find(|line| matches(line)).cloned();
        let text = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self
            .0
            .1
            .wait_timeout_while(text, timeout, |text| !text.closed && found(text).is_none());
        let (text, _) = wait.unwrap_or_else(PoisonError::into_inner);
        found(&text).ok_or_else(|| {
            let (kind, why) = if text.closed {
                (ErrorKind::UnexpectedEof, "the output ended")
            } else {
                (ErrorKind::TimedOut, "the time was up")
            };
            Error::new(
                kind,
                format!(
                    "{why} before the expected line; lines so far: {:?}",
                    text.lines
                ),
            )
        })
    }

    /// Returns everything, once the pipe is closed or has had its time to be.
    fn all(&self) -> String {
        let text = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wait = self
            .0
            .1
            .wait_timeout_while(text, TIMEOUT, |text| !text.closed);
        wait.unwrap_or_else(PoisonError::into_inner)
            .0
            .lines
            .join("\n")
    }
}
