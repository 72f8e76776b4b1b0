use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{Guard, Phase};
#[cfg(feature = "hyper")]
use crate::{sync::Weak, tally::Seat, tree::Core};

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
    // Relaxed throughout: whoever changes it does so in the task of the connection.
    at_work: Arc<AtomicBool>,
}

impl Standby {
    /// At work, until it is told to rest.
    pub fn new(guard: Guard) -> Self {
        let at_work = Arc::new(AtomicBool::new(true));
        guard.stand_by(&at_work);
        Self { guard, at_work }
    }

    /// Nobody waits for it.
    #[inline]
    pub fn rest(&mut self) {
        if self.at_work.load(Ordering::Relaxed) {
            self.at_work.store(false, Ordering::Relaxed);
            self.guard.rest();
        }
    }

    /// Somebody does.
    #[inline]
    pub fn work(&mut self) {
        if !self.at_work.load(Ordering::Relaxed) {
            self.guard.resume();
            self.at_work.store(true, Ordering::Relaxed);
        }
    }

    /// For whoever knows first that there is work.
    #[cfg(feature = "hyper")]
    pub(crate) fn bell(&self) -> Bell {
        Bell {
            at_work: Arc::clone(&self.at_work),
            seat: self.guard.tracked_seat(),
        }
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

/// Calls a [`Standby`] to work, and keeps nothing alive.
#[cfg(feature = "hyper")]
pub(crate) struct Bell {
    at_work: Arc<AtomicBool>,
    /// Where guards are tracked.
    seat: Option<Weak<Seat>>,
}

#[cfg(feature = "hyper")]
impl Bell {
    /// Work has begun under `core`, and `label` writes what it is called.
    pub(crate) fn ring(&self, core: &Core, label: impl FnOnce(&mut String)) {
        if !self.at_work.load(Ordering::Relaxed) {
            core.tally.forgo_hold();
        }
        let seat = self.seat.as_ref().and_then(Weak::upgrade);
        if let Some(ticket) = seat.as_ref().and_then(|seat| seat.ticket()) {
            ticket.begin(label);
        }
        self.at_work.store(true, Ordering::Relaxed);
    }
}

#[cfg(all(test, feature = "hyper", not(any(loom, shuttle))))]
mod tests {
    use super::Standby;
    use crate::Drain;

    /// A request that has begun counts and is named before its connection has heard of it.
    #[test]
    fn a_bell_calls_to_work() {
        let drain = Drain::builder().track(true).build();
        let mut connection = Standby::new(drain.guard().unwrap());
        let bell = connection.bell();
        let ring = |name: &str| bell.ring(drain.core(), |label| label.push_str(name));
        connection.rest();
        for name in ["GET /1", "GET /2"] {
            ring(name);
            assert_eq!(drain.in_flight(), 1);
            let stragglers = drain.stragglers();
            let label = stragglers.iter().next().unwrap().label.as_deref();
            assert_eq!(label, Some(name));
        }
        let further = allocation_counter::measure(|| ring("GET /3"));
        assert_eq!(further.count_total, 0, "the name is written over the last");

        connection.rest();
        assert_eq!(drain.in_flight(), 0);
        drop(connection);
        ring("nobody");
        assert_eq!(drain.stragglers().iter().count(), 0);
    }
}
