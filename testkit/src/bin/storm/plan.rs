//! What a round does, drawn from its seed.

use crate::clients::Client;
use crate::fault::{Fault, Means};
use crate::hostile::Hostile;
use fastrand::Rng;
use rustix::process::Signal;
use std::ops::Range;
use std::time::Duration;

/// A round.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) subject: Subject,
    pub(crate) tls: bool,
    pub(crate) fault: Fault,
    /// The threads of smol's executor.
    pub(crate) threads: usize,
    pub(crate) settings: Settings,
    pub(crate) clients: Vec<Client>,
    pub(crate) hostile: Vec<Hostile>,
    /// The time from the first answer of all clients to the signal.
    pub(crate) calm: Duration,
    pub(crate) signal: Signal,
    /// How long after the first signal the same one is sent again, as wrappers and process groups
    /// do. Not if the process is frozen, which would see the second one late.
    pub(crate) again: Option<Duration>,
    /// When and for how long the process is frozen, each time counted from the end of the one
    /// before; the first from the moment at which all clients have had an answer.
    pub(crate) freezes: Vec<Freeze>,
    /// Set if the process is frozen from the start of draining until the whole grace period is
    /// over.
    pub(crate) overslept: bool,
}

/// The servers under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// On smol's executor.
    Hyper,
    /// On one thread, with a watchdog.
    Local,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) lame_duck: Duration,
    pub(crate) grace: Duration,
    pub(crate) abort_grace: Duration,
    pub(crate) keep_alive_grace: Duration,
    pub(crate) first_request_grace: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Freeze {
    pub(crate) after: Duration,
    pub(crate) lasting: Duration,
}

impl Plan {
    pub(crate) fn draw(seed: u64, means: Means) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let subject = if one_in(rng, 5) {
            Subject::Local
        } else {
            Subject::Hyper
        };
        let tls = subject == Subject::Hyper && one_in(rng, 6);
        let threads = rng.usize(1..=4);
        let overslept = one_in(rng, 12);
        let stuck = one_in(rng, 3);
        let settings = Settings {
            lame_duck: if !overslept && one_in(rng, 4) {
                millis(rng, 50..400)
            } else {
                Duration::ZERO
            },
            // Long enough for the requests of clients, on a loaded machine.
            grace: if overslept {
                millis(rng, 200..800)
            } else {
                millis(rng, 3000..4000)
            },
            abort_grace: millis(rng, 100..500),
            keep_alive_grace: millis(rng, 800..1200),
            first_request_grace: millis(rng, 800..1200),
        };
        let hostile = (0..rng.usize(..12))
            .map(|_| Hostile::draw(rng, subject, tls, stuck))
            .collect::<Vec<_>>();
        let mut blocked = 0;
        let hostile = hostile
            .into_iter()
            .filter(|peer| {
                // One thread is left to the others, and a watched executor has only one.
                let blocks = *peer == Hostile::Block;
                blocked += usize::from(blocks);
                !blocks || blocked < threads || (subject == Subject::Local && blocked == 1)
            })
            .collect();
        let freezes: Vec<_> = (0..rng.usize(..4).saturating_sub(1))
            .map(|_| Freeze {
                after: millis(rng, 0..200),
                lasting: millis(rng, 1..300),
            })
            .collect();
        let again = one_in(rng, 3).then(|| millis(rng, 0..100));
        Self {
            seed,
            subject,
            tls,
            fault: Fault::draw(rng, means),
            threads,
            settings,
            clients: (0..rng.usize(4..24)).map(|_| Client::draw(rng)).collect(),
            hostile,
            calm: millis(rng, 0..300),
            signal: if rng.bool() {
                Signal::TERM
            } else {
                Signal::INT
            },
            again: again.filter(|_| freezes.is_empty() && !overslept),
            freezes,
            overslept,
        }
    }

    /// Returns whether a handler blocks the only thread.
    pub(crate) fn is_blocked(&self) -> bool {
        self.subject == Subject::Local && self.blocks() > 0
    }

    /// Returns whether the server is blocked for longer than the grace period.
    pub(crate) fn excuses_losses(&self) -> bool {
        self.overslept || self.is_blocked()
    }

    /// Returns how many handlers block their thread.
    pub(crate) fn blocks(&self) -> usize {
        let blocks = |peer: &&Hostile| **peer == Hostile::Block;
        self.hostile.iter().filter(blocks).count()
    }

    /// Returns how many peers hold the server until their work is cut.
    pub(crate) fn stuck(&self) -> usize {
        self.hostile.iter().filter(|peer| peer.is_stuck()).count()
    }

    /// Returns the settings, in the form that the server takes.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let settings = &self.settings;
        let durations = [
            ("GRACE_MS", settings.grace),
            ("LAME_DUCK_MS", settings.lame_duck),
            ("ABORT_GRACE_MS", settings.abort_grace),
            ("KEEP_ALIVE_GRACE_MS", settings.keep_alive_grace),
            ("FIRST_REQUEST_GRACE_MS", settings.first_request_grace),
        ];
        let mut all: Vec<_> = durations
            .iter()
            .map(|(name, time)| (*name, time.as_millis().to_string()))
            .collect();
        all.push(("ADDR", "127.0.0.1:0".to_owned()));
        all.push(("TLS", u8::from(self.tls).to_string()));
        all.push(("RUST_BACKTRACE", "0".to_owned()));
        all.push(("SMOL_THREADS", self.threads.to_string()));
        all
    }
}

impl Subject {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hyper => "hyper",
            Self::Local => "local",
        }
    }
}

pub(crate) fn one_in(rng: &mut Rng, n: u32) -> bool {
    rng.u32(..n) == 0
}

pub(crate) fn millis(rng: &mut Rng, range: Range<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}
