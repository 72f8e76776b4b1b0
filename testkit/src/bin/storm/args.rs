//! The command line.

use std::time::Duration;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
Starts a server, loads and disturbs it, and tells it to stop, again and again.

usage: storm [OPTIONS]

  --seconds N   how long to go on; 60 unless said otherwise
  --rounds N    how many rounds to play, in place of a time
  --seed N      the first round's seed; each further one's is one more
  --verbose     prints what every round drew, and what its server said

exit status: 0 if every round kept the promises, 1 if one did not, 2 if none could be played";

/// How much to play.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) time: Duration,
    pub(crate) rounds: Option<u64>,
    pub(crate) seed: Option<u64>,
    pub(crate) verbose: bool,
}

/// Reads the command line, without the name of the program; `None` asks for help.
pub(crate) fn parse(mut words: impl Iterator<Item = String>) -> Result<Option<Args>, String> {
    let mut args = Args {
        time: Duration::from_secs(60),
        rounds: None,
        seed: None,
        verbose: false,
    };
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().and_then(|value| value.parse().ok());
            value.ok_or_else(|| format!("{word} needs a whole number"))
        };
        match word.as_str() {
            "--help" | "-h" => return Ok(None),
            "--verbose" => args.verbose = true,
            "--seconds" => args.time = Duration::from_secs(number()?),
            "--rounds" => args.rounds = Some(number()?),
            "--seed" => args.seed = Some(number()?),
            _ => return Err(format!("unknown argument '{word}'")),
        }
    }
    Ok(Some(args))
}
