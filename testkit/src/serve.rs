//! How an example begins and ends.

use std::{
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    process::{ExitCode, Termination},
};

use async_drain::Report;

/// Runs an example: its report is the last of stderr, and an error before it could serve is exit status 2.
pub fn run(example: impl FnOnce() -> Result<Report, Box<dyn Error>>) -> ExitCode {
    match example() {
        Ok(report) => {
            eprintln!("{report}");
            report.report()
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Says what could not be listened on.
pub fn cannot_listen(addr: SocketAddr) -> impl Fn(io::Error) -> String {
    move |error| format!("can't listen on {addr}: {error}")
}

/// Prints the first line of stdout.
pub fn announce(addr: SocketAddr) {
    say(&format!("listening on {addr}"));
}

/// Prints a line to stdout. That nobody reads it is no reason not to serve.
pub fn say(line: &str) {
    let mut stdout = io::stdout();
    let _ = writeln!(stdout, "{line}");
    let _ = stdout.flush();
}
