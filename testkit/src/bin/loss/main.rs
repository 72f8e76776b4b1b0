//! Measures how many HTTP requests a server loses when it is stopped by a signal, or when it ends
//! connections by itself.
//!
//! A request is **lost** if bytes of it were written on an established connection and no complete
//! response came: the connection ended, was reset or stayed silent for ten seconds. It is not lost
//! if the connection was refused, if the client saw the end before it wrote, or if the server said
//! in the protocol's own words that it did not process it (`retryable`).
//!
//! Run with:
//! ```sh
//! cargo build --package testkit
//! target/debug/loss --scenario keepalive-5 -- target/debug/hyper
//! ```
#![forbid(unsafe_code)]

mod args;
mod arrivals;
mod behind;
mod closed_loop;
mod early;
mod in_flight;
mod measure;
mod pipelined;
mod queued;
mod report;
mod round;
mod scenario;
mod shared;
mod slow2;
mod split;
mod steady;
mod storm;
mod tunnel;

use args::{Action, Args};
use measure::{Size, measure};
use std::io::Write;
use std::process::ExitCode;
use std::{env, fs, io};

fn main() -> ExitCode {
    let args = match args::parse(env::args_os().skip(1)) {
        Ok(Action::Measure(args)) => args,
        Ok(Action::Help) => {
            println!("{}", args::usage());
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("loss: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loss: {error}");
            ExitCode::from(2)
        }
    }
}

/// Measures what was asked for, and returns whether nothing was lost.
fn run(args: &Args) -> io::Result<bool> {
    let mut all = Vec::new();
    println!("{}", report::TITLE);
    for scenario in &args.scenarios {
        let size = Size {
            connections: args.connections.unwrap_or(scenario.connections),
            rounds: args.rounds.unwrap_or(scenario.rounds),
        };
        let measured = measure(scenario, size, args.signal, &args.command)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", scenario.name)))?;
        println!("{}", report::text(&measured));
        if args.verbose {
            measured
                .reports
                .iter()
                .for_each(|report| println!("  {report}"));
        }
        io::stdout().flush()?;
        all.push(measured);
    }
    if let Some(path) = &args.json {
        fs::write(path, report::json(&all)).map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot write {}: {error}", path.display()),
            )
        })?;
    }
    Ok(all.iter().all(|measured| measured.tally.is_clean()))
}
