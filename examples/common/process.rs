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

/// The first line of stdout. That nobody reads it is no reason not to serve.
pub fn announce(addr: SocketAddr) {
    let mut stdout = std::io::stdout();
    let _ = writeln!(stdout, "listening on {addr}");
    let _ = stdout.flush();
}
