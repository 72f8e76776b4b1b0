//! Measures one scenario: as many servers as it has rounds, each started, loaded, stopped and
//! waited for.

use crate::round::{Round, TIMEOUT};
use crate::scenario::Scenario;
use crate::shared::{self, Socket};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;
use testkit::meter::tally::Tally;
use testkit::meter::tls;
use testkit::meter::transport::Target;
use testkit::process::{Exit, Server};

/// Long enough for every scenario to end by itself. What the environment of this tool already says
/// is left alone.
const SETTINGS: &[(&str, &str)] = &[
    ("GRACE_MS", "15000"),
    ("LAME_DUCK_MS", "0"),
    ("KEEP_ALIVE_GRACE_MS", "1000"),
    ("FIRST_REQUEST_GRACE_MS", "1000"),
];

/// The result of a scenario.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) tally: Tally,
    /// The longest time from the signal to the exit.
    pub(crate) slowest_exit: Duration,
    /// The different ways in which the servers ended.
    pub(crate) statuses: BTreeSet<String>,
    /// The last line of each server's stderr.
    pub(crate) reports: Vec<String>,
}

/// The number of connections and rounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) connections: usize,
    pub(crate) rounds: usize,
}

/// Plays all rounds of a scenario against fresh servers.
pub(crate) fn measure(
    scenario: &Scenario,
    size: Size,
    signal: Signal,
    command: &[OsString],
) -> Result<Measured> {
    let mut measured = Measured {
        name: scenario.name,
        tally: Tally::default(),
        slowest_exit: Duration::ZERO,
        statuses: BTreeSet::new(),
        reports: Vec::new(),
    };
    for _ in 0..size.rounds {
        let command = server_command(command, scenario);
        let socket = scenario.passed().map(Socket::bind).transpose()?;
        let (mut server, successor) = match &socket {
            None => (Server::spawn(command)?, None),
            Some(socket) => (socket.start(&command)?, Some(socket.start(&command)?)),
        };
        let tls = scenario
            .tls
            .map(tls::connector)
            .transpose()
            .map_err(Error::other)?;
        let target = Target {
            addr: server.addr(),
            tls,
        };
        let round = Round::new(&server, signal, target, size.connections);
        measured.tally += smol::block_on(scenario.play(&round))?;
        let (exit, status) = end(&mut server)?;
        successor.map(shared::dismiss).transpose()?;
        measured.slowest_exit = measured.slowest_exit.max(exit.elapsed);
        measured.statuses.insert(status);
        measured.reports.push(exit.report);
    }
    Ok(measured)
}

fn server_command(command: &[OsString], scenario: &Scenario) -> Command {
    let mut server = Command::new(&command[0]);
    server.args(&command[1..]).env("ADDR", "127.0.0.1:0");
    server.envs(
        SETTINGS
            .iter()
            .filter(|(key, _)| env::var_os(key).is_none())
            .copied(),
    );
    server.envs(scenario.settings.iter().copied());
    if scenario.tls.is_some() {
        server.env("TLS", "1");
    }
    server
}

/// Waits for the exit, or brings it about, and describes it.
fn end(server: &mut Server) -> Result<(Exit, String)> {
    let left = server
        .signalled()
        .map_or(TIMEOUT, |at| TIMEOUT.saturating_sub(at.elapsed()));
    match server.wait(left) {
        Ok(exit) => {
            let status = describe(exit.status);
            Ok((exit, status))
        }
        Err(error) if error.kind() == ErrorKind::TimedOut => {
            server.kill()?;
            Ok((
                server.wait(TIMEOUT)?,
                format!("killed after {} s", TIMEOUT.as_secs()),
            ))
        }
        Err(error) => Err(error),
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => code.to_string(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
