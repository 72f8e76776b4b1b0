//! Restarts a server again and again under load from two kinds of clients, and prints what they
//! saw.
//!
//! Run with: `ci/generations.sh`, which builds what this needs.
#![forbid(unsafe_code)]

use std::{
    env, io,
    path::PathBuf,
    process::{Command, ExitCode},
};

use testkit::generations::{Hand, play};

const USAGE: &str = "usage: generations N DIRECTORY [wrk]: N generations of the server `hyper` in \
DIRECTORY, and of the examples below it";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let (number, directory, wrk) = match args.as_slice() {
        [number, directory] => (number, directory, false),
        [number, directory, wrk] if wrk == "wrk" => (number, directory, true),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let Ok(number) = number.parse() else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    match run(number, &PathBuf::from(directory), wrk) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("generations: {error}");
            ExitCode::from(2)
        }
    }
}

/// Plays each kind of hand-over but socket activation, and returns whether no client noticed any.
fn run(number: usize, directory: &std::path::Path, wrk: bool) -> io::Result<bool> {
    let server = directory.join("hyper");
    let example = |name: &str| {
        let mut command = Command::new(directory.join("examples").join(name));
        command.env("ADDR", "127.0.0.1:0");
        command
    };
    let mut supervisor = example("supervisor");
    supervisor.arg(&server);
    println!(
        "{number} generations    answered  connects refused  >0.9s     slowest  lost  wrk: all  wrk: lost"
    );
    let mut clean = true;
    for (name, hand) in [
        ("LISTEN_FDS", Hand::Hangup(supervisor)),
        ("SO_REUSEPORT", Hand::Group(&server)),
        ("reload", Hand::Hangup(example("reload"))),
    ] {
        let seen = play(hand, number, wrk)?;
        println!("{name:<14} {seen}");
        for lost in seen.lost.iter().take(5) {
            println!("    lost: {lost}");
        }
        clean &= seen.is_clean();
    }
    Ok(clean)
}
