//! Starts a server, loads it, disturbs it and tells it to stop, again and again; it must keep its
//! promises each time.
//!
//! What a round does is drawn from its seed: the settings, the faults that `strace` injects into
//! the server's system calls, a clock that is far in the future, well-behaved clients, hostile
//! peers, the moments at which the process is frozen, and the moment of the signal. Whatever is
//! drawn, a round must keep this:
//!
//! - the process ends within its budget, with the report and the exit status that fit;
//! - only what a hostile peer or handler holds is abandoned, and nothing panics that was not asked
//!   to;
//! - every request of a well-behaved client is answered in full, or refused so that it is safe to
//!   send again.
//!
//! Run with:
//! ```sh
//! cargo build --release --package testkit
//! target/release/storm --seconds 60
//! target/release/storm --seed 4711 --rounds 1 --verbose
//! ```
#![forbid(unsafe_code)]

mod args;
mod clients;
mod fault;
mod hostile;
mod judge;
mod plan;
mod round;
mod scene;
mod summary;

use args::Args;
use plan::Plan;
use std::env;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;
use summary::Summary;

fn main() -> ExitCode {
    let args = match args::parse(env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("storm: {error}");
            return ExitCode::from(2);
        }
    };
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("storm: {error}");
            ExitCode::from(2)
        }
    }
}

/// Plays rounds for as long as was asked for, and returns whether nothing was violated.
fn run(args: &Args) -> io::Result<bool> {
    let means = fault::Means::find();
    let first = args.seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    println!("storm: the first round's seed is {first}; each further one's is one more");
    let began = Instant::now();
    let mut summary = Summary::default();
    let goes_on = |rounds| match args.rounds {
        Some(all) => rounds < all,
        None => began.elapsed() < args.time,
    };
    while goes_on(summary.rounds()) {
        let seed = first.wrapping_add(summary.rounds());
        let plan = Plan::draw(seed, means);
        let played = round::play(&plan);
        let violations = match &played {
            Ok(played) => judge::violations(&plan, played),
            Err(error) => vec![format!("the round could not be played: {error}")],
        };
        if args.verbose || !violations.is_empty() {
            let stderr = played.as_ref().map_or("", |played| &played.exit.stderr);
            println!("seed {seed}: {plan:#?}\nstderr:\n{stderr}");
        }
        for violation in &violations {
            println!("seed {seed}: VIOLATED: {violation}");
        }
        io::stdout().flush()?;
        summary.add(&plan, played.ok().as_ref(), violations.len());
    }
    println!("{summary}");
    Ok(summary.is_clean())
}
