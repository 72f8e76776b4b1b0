//! The errors of the core.

use std::{error::Error, fmt};

use crate::Phase;

/// The error of [`Drain::guard`](crate::Drain::guard): the drain has drained, which is final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained;

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("drain already finished: no new guards")
    }
}

impl Error for Drained {}

/// The error of [`Drain::admit`](crate::Drain::admit): draining has begun, so new work is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    phase: Phase,
}

impl Refused {
    pub(crate) fn new(phase: Phase) -> Self {
        Self { phase }
    }

    /// Returns the phase in which the work was refused.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "new work refused: the drain is {}", self.phase)
    }
}

impl Error for Refused {}

/// The error of work that was cancelled because aborting had begun; see
/// [`Drain::run_until_aborting`](crate::Drain::run_until_aborting).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cancelled: the drain is aborting")
    }
}

impl Error for Aborted {}
