//! The servers, and the promises that they can't keep.

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
};

use testkit::process::Server;

use crate::{
    promises::{Failure, Probed, Promise},
    table::Cell,
};

/// A server example, which is started anew for each promise.
pub(crate) struct Subject {
    pub(crate) name: String,
    program: PathBuf,
    limits: Limits,
}

/// How often a promise with a known limit is tried before this says that the limit may be gone.
const TRIES: usize = 10;

/// Promises that a server can't keep, by their words, and whose limit that is.
type Limits = &'static [(&'static str, &'static str)];

const TRILLIUM: Limits = &[
    (
        "connections in the kernel's queue are answered",
        "trillium drops its listener together with the queue",
    ),
    (
        "an idle connection gets one more request",
        "trillium closes idle connections at once",
    ),
    (
        "a silent connection may send its first request",
        "trillium closes silent connections at once",
    ),
    (
        "work that outlasts the grace period is cut and named",
        "it is cut, but swansong counts its guards and does not name them",
    ),
    (
        "an idle limit is advertised, and kept with care",
        "trillium has no such limit",
    ),
    (
        "an aged connection ends with its next answer",
        "trillium has no such limit",
    ),
    (
        "server-sent events are told when their connection's age has come",
        "trillium has no such limit",
    ),
    (
        "HTTP/2: GOAWAY in two steps, streams finish",
        "trillium sends one GOAWAY, and that at once",
    ),
    (
        "HTTP/2: a stream opened before the last GOAWAY is served",
        "trillium sends one GOAWAY, and that at once",
    ),
];

const TIDE: Limits = &[
    (
        "an idle limit is advertised, and kept with care",
        "async-drain-tide has no such limit",
    ),
    (
        "an aged connection ends with its next answer",
        "async-drain-tide has no such limit",
    ),
    (
        "server-sent events are told when their connection's age has come",
        "async-drain-tide has no such limit",
    ),
    (
        "HTTP/2: GOAWAY in two steps, streams finish",
        "async-h1 speaks no HTTP/2",
    ),
    (
        "HTTP/2: a stream opened before the last GOAWAY is served",
        "async-h1 speaks no HTTP/2",
    ),
];

/// Returns this package's own servers, and those that `CONFORMANCE_SERVERS` has: `NAME=PATH`, with
/// spaces between them.
pub(crate) fn all() -> Vec<Subject> {
    let own = ["hyper", "axum"].map(|name| (name.to_owned(), testkit::server(name)));
    let more = env::var("CONFORMANCE_SERVERS").unwrap_or_default();
    let more = more.split_whitespace().map(|entry| {
        let (name, path) = entry.split_once('=').expect("NAME=PATH");
        (name.to_owned(), PathBuf::from(path))
    });
    let subjects = own.into_iter().chain(more);
    subjects
        .map(|(name, program)| Subject {
            limits: match name.as_str() {
                "trillium" => TRILLIUM,
                "tide" | "async-h1" => TIDE,
                _ => &[],
            },
            name,
            program,
        })
        .collect()
}

impl Subject {
    pub(crate) fn start(&self, env: &[(&str, &str)]) -> Result<Server, Failure> {
        Ok(Server::start(&self.program, env)?)
    }

    pub(crate) fn program(&self) -> &PathBuf {
        &self.program
    }

    pub(crate) fn judge(&self, promise: &Promise) -> Cell {
        let limit = self.limits.iter().find(|(what, _)| *what == promise.what);
        if let Some((_, whose)) = limit {
            // Some limits show only when the server is unlucky, so luck doesn't count as kept.
            if (0..TRIES).all(|_| self.probe(promise).is_ok()) {
                println!("{}: kept {TRIES} times: {}", self.name, promise.what);
            }
            return Cell::Limit(whose);
        }
        match self.probe(promise) {
            Ok(()) => Cell::Kept,
            Err(Failure::NotApplicable(why)) => Cell::NotApplicable(why),
            Err(Failure::Broken(why)) => Cell::Broken(why),
        }
    }

    fn probe(&self, promise: &Promise) -> Probed {
        // A probe that panics is a probe that failed.
        panic::catch_unwind(AssertUnwindSafe(|| (promise.probe)(self)))
            .unwrap_or_else(|_| Err(Failure::Broken("the probe panicked".to_owned())))
    }
}
