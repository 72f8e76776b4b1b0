use std::borrow::Cow;

#[cfg(feature = "hyper")]
use crate::guard::NameTag;
use crate::{Guard, Phase};

/// A guard of something that is work only at times: a connection, which between two requests must be closed with
/// care, and yet is nothing that anybody waits for.
///
/// It keeps the drain from being drained for as long as it lives, and counts as in flight only while at work.
///
/// ```
/// # use async_drain::{Drain, net::Standby};
/// let drain = Drain::new();
/// let mut connection = Standby::new(drain.guard()?);
/// connection.rest(); // answered, and kept alive
/// assert_eq!(drain.in_flight(), 0);
/// connection.work(); // the next request
/// assert_eq!(drain.in_flight(), 1);
/// # Ok::<(), async_drain::Drained>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it drops the guard"]
pub struct Standby {
    guard: Guard,
    at_work: bool,
}

impl Standby {
    /// At work, until it is told to rest.
    pub fn new(guard: Guard) -> Self {
        Self {
            guard,
            at_work: true,
        }
    }

    /// Nobody waits for it.
    pub fn rest(&mut self) {
        if std::mem::take(&mut self.at_work) {
            self.guard.rest();
        }
    }

    /// Somebody does.
    pub fn work(&mut self) {
        if !std::mem::replace(&mut self.at_work, true) {
            self.guard.resume();
        }
    }

    /// To name the work from where it is known, where guards are tracked.
    #[cfg(feature = "hyper")]
    pub(crate) fn name_tag(&self) -> Option<NameTag> {
        self.guard.name_tag()
    }

    /// Names the work that has just begun; `label` is made only where guards are tracked.
    pub fn label(&self, label: impl FnOnce() -> Cow<'static, str>) {
        self.guard.relabel(label);
    }

    /// The guard.
    pub fn guard(&self) -> &Guard {
        &self.guard
    }

    /// How far the end of its drain has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.guard.phase()
    }
}

impl Drop for Standby {
    fn drop(&mut self) {
        self.work();
    }
}
