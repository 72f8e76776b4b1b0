use std::{borrow::Cow, sync::Arc, thread};

use crate::{Guard, Phase, net::Delivery, straggler::Work, tree::Core};
#[cfg(feature = "hyper")]
use crate::{sync::Weak, tally::Seat};

/// A guard of a connection, which is work only at times: between two requests it must be closed
/// with care, and yet nobody waits for it.
///
/// It keeps the drain from being drained for as long as it lives, and counts as in flight only
/// while it is at work.
///
/// ```
/// # use async_drain::{Drain, net::idle::ConnectionGuard};
/// let drain = Drain::new();
/// let mut connection = ConnectionGuard::new(drain.guard()?);
/// connection.rest(); // answered, and kept alive
/// assert_eq!(drain.in_flight(), 0);
/// connection.work(); // the next request
/// assert_eq!(drain.in_flight(), 1);
/// # Ok::<(), async_drain::Drained>(())
/// ```
///
/// # What is reported as abandoned
///
/// A connection guard that is at work when aborting begins is abandoned, like any guard. One that
/// is dropped before is done, whatever dropped it, as a plain [`Guard`] is: its work may have ended
/// by itself, or with its task. A server knows which, and tells by
/// [`abandoned_if_dropped`](Self::abandoned_if_dropped) and [`finished`](Self::finished):
///
/// ```
/// # use async_drain::{Drain, net::idle::ConnectionGuard};
/// # use futures_lite::future::{block_on, pending};
/// let drain = Drain::new();
/// let served = ConnectionGuard::new(drain.guard()?).abandoned_if_dropped();
/// drain.begin();
/// drop(served); // with the executor that ran its task
/// let report = block_on(drain.finish(pending::<()>()));
/// assert_eq!(report.stragglers().total(), 1);
/// # Ok::<(), async_drain::Drained>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it drops the guard"]
pub struct ConnectionGuard {
    /// `None` once it is being dropped.
    guard: Option<Guard>,
    work: Arc<Work>,
    /// Whether being dropped at work is a loss: set by a server, cleared once the connection has
    /// ended by itself.
    abandoned_if_dropped: bool,
    /// What became of the bytes that were written, if its connection tells.
    delivery: Option<Arc<Delivery>>,
}

impl ConnectionGuard {
    /// At work, until it is told to rest.
    pub fn new(guard: Guard) -> Self {
        let work = Arc::new(Work::new());
        if let Some(ticket) = guard.seat().ticket() {
            ticket.stand_by(&work);
        }
        Self {
            guard: Some(guard),
            work,
            abandoned_if_dropped: false,
            delivery: None,
        }
    }

    /// Counts the work as abandoned if this is dropped at work once the shutdown is under way, lame
    /// duck included: its executor or task has gone, and with it the answer.
    ///
    /// Call [`finished`](Self::finished) where the connection ends by itself. A panic that drops it
    /// is the handler's own failure, and abandons nothing.
    pub fn abandoned_if_dropped(mut self) -> Self {
        self.abandoned_if_dropped = true;
        self
    }

    /// Counts the work as abandoned if the connection of `delivery` loses bytes once the shutdown
    /// is under way. Drop the connection first.
    pub fn with_delivery(mut self, delivery: Arc<Delivery>) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// Returns whether the connection is being closed and bytes of it are on their way: it is at
    /// work.
    pub fn is_delivering(&self) -> bool {
        (self.delivery.as_ref()).is_some_and(|delivery| delivery.is_unacknowledged())
    }

    /// Says that the connection ended by itself, with all requests answered or by its peer:
    /// dropping it abandons nothing.
    pub fn finished(&mut self) {
        self.abandoned_if_dropped = false;
    }

    /// Counts the work as abandoned, at work or idle: for instance because bytes of an answer were
    /// unacknowledged when the connection was closed.
    ///
    /// It counts once, however often this is called, and not again if it was among the stragglers
    /// when aborting began. From now on the connection is idle.
    pub fn abandon(&mut self) {
        if !self.work.is_abandoned() {
            let ticket = self.guard().seat().ticket();
            self.core().abandon(Some(&self.work), ticket);
        }
    }

    /// Nobody waits for it.
    #[inline]
    pub fn rest(&mut self) {
        if self.work.is_on() {
            self.core().rest(&self.work);
        }
    }

    /// Somebody does.
    #[inline]
    pub fn work(&mut self) {
        if !self.work.is_on() && !self.work.is_abandoned() {
            self.core().resume(&self.work);
            if let Some(ticket) = self.guard().seat().ticket() {
                ticket.resume();
            }
            self.work.set_on(true);
        }
    }

    /// For whoever knows first that there is work.
    #[cfg(feature = "hyper")]
    pub(crate) fn bell(&self) -> Bell {
        Bell {
            work: Arc::clone(&self.work),
            seat: self.guard().tracked_seat(),
        }
    }

    /// Names the work that has just begun; `label` is made only where guards are tracked.
    pub fn label(&self, label: impl FnOnce() -> Cow<'static, str>) {
        self.guard().relabel(label);
    }

    /// The guard.
    pub fn guard(&self) -> &Guard {
        let guard = self.guard.as_ref();
        guard.unwrap_or_else(|| unreachable!("only `drop` takes it"))
    }

    /// How far the end of its drain has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.guard().phase()
    }

    fn core(&self) -> &Core {
        self.guard().seat().core()
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let lost = (self.delivery.as_ref()).is_some_and(|delivery| delivery.is_lost());
        let dropped = self.abandoned_if_dropped && self.work.is_on() && !thread::panicking();
        if (lost || dropped) && self.phase() > Phase::Running {
            self.abandon();
        }
        // At work it is a guard like any other.
        if let (false, Some(guard)) = (self.work.is_on(), self.guard.take()) {
            Core::give_up_hold(guard.into_seat());
        }
    }
}

/// Calls a [`ConnectionGuard`] to work, and keeps nothing alive.
#[cfg(feature = "hyper")]
pub(crate) struct Bell {
    work: Arc<Work>,
    /// Where guards are tracked.
    seat: Option<Weak<Seat>>,
}

#[cfg(feature = "hyper")]
impl Bell {
    /// Work has begun under `core`, and `label` writes what it is called.
    pub(crate) fn ring(&self, core: &Core, label: impl FnOnce(&mut String)) {
        if self.work.is_abandoned() {
            return;
        }
        let on = self.work.is_on();
        if !on {
            core.resume(&self.work);
        }
        let seat = self.seat.as_ref().and_then(Weak::upgrade);
        if let Some(ticket) = seat.as_ref().and_then(|seat| seat.ticket()) {
            ticket.begin(label);
        }
        if !on {
            self.work.set_on(true);
        }
    }
}

#[cfg(all(test, feature = "hyper", not(any(loom, shuttle))))]
mod tests {
    use super::ConnectionGuard;
    use crate::Drain;

    /// A request that has begun counts and is named before its connection has heard of it.
    #[test]
    fn a_bell_calls_to_work() {
        let drain = Drain::tracked();
        let mut connection = ConnectionGuard::new(drain.guard().unwrap());
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
