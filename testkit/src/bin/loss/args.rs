//! The command line.

use crate::scenario::{SCENARIOS, Scenario};
use rustix::process::Signal;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// What `--help` prints, before the names of the scenarios.
const USAGE: &str = "\
Measures how many HTTP requests a server loses when it is stopped by a signal.

usage: loss [OPTIONS] -- SERVER [ARGS]...

  --scenario NAME    what to measure; may be repeated; `all`, the default, leaves out TLS
  --connections N    clients at once, in place of each scenario's own number
  --rounds N         servers started and stopped, in place of each scenario's own number
  --signal NAME      how it is stopped: TERM (the default), INT, QUIT or USR1
  --json FILE        writes the results there too
  --verbose          prints the last line that each server wrote to stderr

The server is started afresh for every round, with ADDR=127.0.0.1:0 in its environment, and must
print `listening on ADDR` as its first line. GRACE_MS, LAME_DUCK_MS, KEEP_ALIVE_GRACE_MS and
FIRST_REQUEST_GRACE_MS are set unless they already are.

exit status: 0 if nothing was lost, 1 if a request was lost or answered wrongly,
2 if nothing could be measured

scenarios: ";

/// What to do.
#[derive(Debug)]
pub(crate) enum Action {
    Help,
    Measure(Args),
}

/// What to measure, and how much of it.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) scenarios: Vec<&'static Scenario>,
    pub(crate) connections: Option<usize>,
    pub(crate) rounds: Option<usize>,
    /// How servers are told to stop.
    pub(crate) signal: Signal,
    pub(crate) json: Option<PathBuf>,
    pub(crate) verbose: bool,
    /// The server and its arguments; never empty.
    pub(crate) command: Vec<OsString>,
}

/// Returns the text for `--help`.
pub(crate) fn usage() -> String {
    format!("{USAGE}{}", names())
}

/// Reads the command line, without the name of the program.
pub(crate) fn parse(mut words: impl Iterator<Item = OsString>) -> Result<Action, String> {
    let mut args = Args {
        scenarios: Vec::new(),
        connections: None,
        rounds: None,
        signal: Signal::TERM,
        json: None,
        verbose: false,
        command: Vec::new(),
    };
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--") => {
                args.command = words.by_ref().collect();
                break;
            }
            Some("--help" | "-h") => return Ok(Action::Help),
            Some("--verbose") => args.verbose = true,
            Some("--scenario") => args
                .scenarios
                .extend(scenarios(&value("--scenario", &mut words)?)?),
            Some("--connections") => args.connections = Some(count("--connections", &mut words)?),
            Some("--rounds") => args.rounds = Some(count("--rounds", &mut words)?),
            Some("--signal") => args.signal = signal(&value("--signal", &mut words)?)?,
            Some("--json") => args.json = Some(value("--json", &mut words)?.into()),
            _ => {
                return Err(format!(
                    "unknown argument {word:?}; the server command goes after `--`"
                ));
            }
        }
    }
    if args.command.is_empty() {
        return Err("no server command; it goes after `--`".to_owned());
    }
    if args.scenarios.is_empty() {
        args.scenarios = plain().collect();
    }
    Ok(Action::Measure(args))
}

fn value(option: &str, words: &mut impl Iterator<Item = OsString>) -> Result<OsString, String> {
    words
        .next()
        .ok_or_else(|| format!("{option} needs a value"))
}

fn count(option: &str, words: &mut impl Iterator<Item = OsString>) -> Result<usize, String> {
    let word = value(option, words)?;
    let number = word
        .to_str()
        .and_then(|text| text.parse().ok())
        .filter(|number| *number > 0);
    number.ok_or_else(|| format!("{option} needs a whole number above zero, not {word:?}"))
}

fn signal(name: &OsStr) -> Result<Signal, String> {
    match name.to_str() {
        Some("TERM") => Ok(Signal::TERM),
        Some("INT") => Ok(Signal::INT),
        Some("QUIT") => Ok(Signal::QUIT),
        Some("USR1") => Ok(Signal::USR1),
        _ => Err(format!(
            "unknown signal {name:?}; there are: TERM INT QUIT USR1"
        )),
    }
}

fn scenarios(name: &OsStr) -> Result<Vec<&'static Scenario>, String> {
    if name == "all" {
        return Ok(plain().collect());
    }
    let found = SCENARIOS.iter().find(|scenario| name == scenario.name);
    found
        .map(|scenario| vec![scenario])
        .ok_or_else(|| format!("unknown scenario {name:?}; there are: {}", names()))
}

fn plain() -> impl Iterator<Item = &'static Scenario> {
    SCENARIOS.iter().filter(|scenario| scenario.tls.is_none())
}

fn names() -> String {
    let names: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    names.join(" ")
}
