//! How an example begins and ends.

use std::{
    error::Error,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    process::{ExitCode, Termination},
};

use async_drain::Report;

use crate::settings::Settings;

/// Runs an example: its report is the last of stderr, and an error before it could serve is exit
/// status 2.
pub fn run(example: impl FnOnce() -> Result<Report, Box<dyn Error>>) -> ExitCode {
    match example() {
        Ok(report) => report.report(),
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Where a server listens.
#[derive(Debug)]
pub enum Listening {
    /// On a socket that it has bound, or that it knows nothing about.
    Own(TcpListener),
    /// On one that a supervisor holds too.
    Shared(TcpListener),
}

impl Listening {
    /// Binds, or takes over the descriptor of `LISTEN_FDS` or `INHERIT_FD`.
    pub fn new(settings: &Settings) -> Result<Self, String> {
        let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
        let passed = number("LISTEN_PID") == Some(std::process::id())
            && number("LISTEN_FDS").is_some_and(|count| count > 0);
        if passed {
            return inherited(3).map(Self::Shared);
        }
        if let Some(fd) = settings.inherit_fd {
            return inherited(fd).map(Self::Own);
        }
        let bound = TcpListener::bind(settings.addr);
        bound.map(Self::Own).map_err(cannot_listen(settings.addr))
    }

    /// Returns the address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let (Self::Own(listener) | Self::Shared(listener)) = self;
        listener.local_addr()
    }
}

/// Takes a listener by the number of its descriptor, without `unsafe`: the kernel is asked for a
/// descriptor of this very process.
#[cfg(target_os = "linux")]
fn inherited(fd: i32) -> Result<TcpListener, String> {
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
    let taken = pidfd_open(getpid(), PidfdFlags::empty())
        .and_then(|this| pidfd_getfd(this, fd, PidfdGetfdFlags::empty()));
    taken
        .map(TcpListener::from)
        .map_err(|error| format!("can't listen on descriptor {fd}: {error}"))
}

#[cfg(not(target_os = "linux"))]
fn inherited(fd: i32) -> Result<TcpListener, String> {
    Err(format!("can't listen on descriptor {fd}: only on Linux"))
}

/// Says what could not be listened on.
pub fn cannot_listen(addr: SocketAddr) -> impl Fn(io::Error) -> String {
    move |error| format!("can't listen on {addr}: {error}")
}

/// Prints the first line of stdout.
pub fn announce(addr: SocketAddr) {
    say(&format!("listening on {addr}"));
}

/// Prints a line to stdout. The server goes on if that fails.
pub fn say(line: &str) {
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}
