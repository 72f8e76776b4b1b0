//! The servers, and what is known not to be possible with them.

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
};

use crate::{
    promises::{Failure, Promise},
    support::process::Server,
    table::Cell,
};

/// A server example, which is started anew for each promise.
pub(crate) struct Subject {
    pub(crate) name: String,
    program: PathBuf,
    /// Whose limit it is that a promise is not kept; by the promise's words.
    limits: &'static [(&'static str, &'static str)],
}

const TRILLIUM: &[(&str, &str)] = &[];

/// This package's own, and those that `CONFORMANCE_SERVERS` has: `NAME=PATH`, with spaces between them.
pub(crate) fn all() -> Vec<Subject> {
    let test = env::current_exe().expect("a path of our own");
    let examples = test
        .ancestors()
        .nth(2)
        .expect("target/PROFILE/deps")
        .join("examples");
    let own = ["hyper", "axum"].map(|name| (name.to_owned(), examples.join(name)));
    let more = env::var("CONFORMANCE_SERVERS").unwrap_or_default();
    let more = more.split_whitespace().map(|entry| {
        let (name, path) = entry.split_once('=').expect("NAME=PATH");
        (name.to_owned(), PathBuf::from(path))
    });
    let subjects = own.into_iter().chain(more);
    subjects
        .map(|(name, program)| Subject {
            limits: if name == "trillium" { TRILLIUM } else { &[] },
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
        // A probe that panics is a probe that failed.
        let probed = panic::catch_unwind(AssertUnwindSafe(|| (promise.probe)(self)));
        let failure = match probed {
            Ok(Ok(())) => return Cell::Kept,
            Ok(Err(Failure::NotApplicable(why))) => return Cell::NotApplicable(why),
            Ok(Err(Failure::Broken(why))) => why,
            Err(_) => "the probe panicked".to_owned(),
        };
        let limit = self.limits.iter().find(|(what, _)| *what == promise.what);
        match limit {
            Some((_, whose)) => Cell::Limit(whose),
            None => Cell::Broken(failure),
        }
    }
}
