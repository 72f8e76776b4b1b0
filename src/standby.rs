//! A guard of something that is work only at times: a connection, which between two requests must be closed with
//! care, and yet is nothing that anybody waits for.

use crate::{Guard, guard::Label};

/// Keeps the drain from being drained for as long as it lives, and counts as in flight only while at work.
#[derive(Debug)]
pub(crate) struct Standby {
    guard: Guard,
    at_work: bool,
}

impl Standby {
    pub(crate) fn new(guard: Guard) -> Self {
        Self {
            guard,
            at_work: true,
        }
    }

    pub(crate) fn rest(&mut self) {
        if std::mem::take(&mut self.at_work) {
            self.guard.rest();
        }
    }

    pub(crate) fn work(&mut self) {
        if !std::mem::replace(&mut self.at_work, true) {
            self.guard.resume();
        }
    }

    /// To name the work, where guards are tracked.
    pub(crate) fn label(&self) -> Option<Label> {
        self.guard.label()
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.work();
    }
}
