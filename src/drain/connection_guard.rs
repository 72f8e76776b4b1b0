use std::{
    borrow::Cow,
    fmt,
    panic::{RefUnwindSafe, UnwindSafe},
    sync::Arc,
    thread,
};

use crate::{
    Guard,
    drain::{node::Node, phase::Phase, seat::Seat, sync::Weak, work_state::WorkState},
};

/// Tells what became of the bytes that were written to a connection.
pub(crate) trait Deliver: fmt::Debug + Send + Sync + UnwindSafe + RefUnwindSafe {
    /// Returns whether the connection is closing and its peer lacks bytes of it.
    fn is_unacknowledged(&self) -> bool;
    /// Returns whether the connection was closed while bytes were known to be unacknowledged.
    fn is_lost(&self) -> bool;
}

/// Holds the guard of a connection that is at work at times and idle in between. An idle one is not
/// in flight, but must still be closed with care.
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
    /// Taken by the drop.
    guard: Option<Guard>,
    work: Arc<WorkState>,
    /// Set by a server for which being dropped at work is a loss, cleared once the connection has
    /// ended by itself.
    abandoned_if_dropped: bool,
    /// What became of the bytes that were written; set if the connection reports it.
    delivery: Option<Arc<dyn Deliver>>,
}

impl ConnectionGuard {
    /// Creates the guard of a connection that is at work until [`rest`](Self::rest).
    pub fn new(guard: Guard) -> Self {
        let work = Arc::new(WorkState::new(guard.seat().part()));
        if let Some(entry) = guard.seat().entry() {
            entry.set_work(&work);
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

    /// Counts the work as abandoned if `delivery` tells of lost bytes once the shutdown is under
    /// way.
    pub(crate) fn delivered_by(mut self, delivery: Arc<dyn Deliver>) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// Returns whether the connection is being closed and bytes of it are on their way: it is at
    /// work.
    #[inline]
    pub fn is_delivering(&self) -> bool {
        (self.delivery.as_ref()).is_some_and(|delivery| delivery.is_unacknowledged())
    }

    /// Tells that the connection ended by itself, with all requests answered or by its peer:
    /// dropping this abandons nothing.
    pub fn finished(&mut self) {
        self.abandoned_if_dropped = false;
    }

    /// Counts the work as abandoned, at work or idle: e.g. because bytes of an answer were
    /// unacknowledged when the connection was closed.
    ///
    /// It counts once, however often this is called, and not again if it was among the stragglers
    /// when aborting began. From now on the connection is idle.
    pub fn abandon(&mut self) {
        if !self.work.is_abandoned() {
            let entry = self.guard().seat().entry();
            self.node().abandon(Some(&self.work), entry);
        }
    }

    /// Marks the connection idle: it no longer counts as in flight.
    #[inline]
    pub fn rest(&mut self) {
        if self.work.is_at_work() {
            self.node().rest(&self.work);
        }
    }

    /// Marks the connection at work: it counts as in flight.
    #[inline]
    pub fn work(&mut self) {
        if !self.work.is_at_work() && !self.work.is_abandoned() {
            self.node().resume(&self.work);
            if let Some(entry) = self.guard().seat().entry() {
                entry.resume();
            }
            self.work.set_at_work(true);
        }
    }

    /// Returns a handle by which the reader of the connection marks it at work, before its task
    /// knows.
    pub(crate) fn work_starter(&self) -> WorkStarter {
        WorkStarter {
            work: Arc::clone(&self.work),
            seat: self.guard().tracked_seat(),
        }
    }

    /// Names the work that has just begun; `label` is called only if guards are tracked.
    pub fn label(&self, label: impl FnOnce() -> Cow<'static, str>) {
        self.guard().relabel(label);
    }

    /// Returns the guard.
    #[inline]
    pub fn guard(&self) -> &Guard {
        let guard = self.guard.as_ref();
        guard.unwrap_or_else(|| unreachable!("only `drop` takes it"))
    }

    /// Returns the stage of shutdown that its drain has reached.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.guard().phase()
    }

    #[inline]
    fn node(&self) -> &Node {
        self.guard().seat().node()
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        let lost = (self.delivery.as_ref()).is_some_and(|delivery| delivery.is_lost());
        let dropped = self.abandoned_if_dropped && self.work.is_at_work() && !thread::panicking();
        if (lost || dropped) && self.phase() > Phase::Running {
            self.abandon();
        }
        // At work, it is a guard like any other.
        if let (false, Some(guard)) = (self.work.is_at_work(), self.guard.take()) {
            Node::end_presence(guard.into_seat());
        }
    }
}

/// Marks a [`ConnectionGuard`] at work, and keeps nothing alive.
pub(crate) struct WorkStarter {
    work: Arc<WorkState>,
    /// Set if guards are tracked.
    seat: Option<Weak<Seat>>,
}

impl WorkStarter {
    /// Begins work under `node`; `label` writes its name.
    #[inline]
    pub(crate) fn start(&self, node: &Node, label: impl FnOnce(&mut String)) {
        if self.work.is_abandoned() {
            return;
        }
        let at_work = self.work.is_at_work();
        if !at_work {
            node.resume(&self.work);
        }
        if let Some(seat) = &self.seat {
            if let Some(entry) = seat.upgrade().as_ref().and_then(|seat| seat.entry()) {
                entry.begin(label);
            }
        }
        if !at_work {
            self.work.set_at_work(true);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::ConnectionGuard;
    use crate::Drain;

    /// A request that has begun counts and has its name before the task of its connection knows.
    #[test]
    fn a_request_counts_before_its_connection_knows() {
        let drain = Drain::tracked();
        let mut connection = ConnectionGuard::new(drain.guard().unwrap());
        let starter = connection.work_starter();
        let start = |name: &str| starter.start(drain.node(), |label| label.push_str(name));
        connection.rest();
        for name in ["GET /1", "GET /2"] {
            start(name);
            assert_eq!(drain.in_flight(), 1);
            let stragglers = drain.stragglers();
            let label = stragglers.iter().next().unwrap().label.as_deref();
            assert_eq!(label, Some(name));
        }
        let further = allocation_counter::measure(|| start("GET /3"));
        assert_eq!(further.count_total, 0, "the name is written over the last");

        connection.rest();
        assert_eq!(drain.in_flight(), 0);
        drop(connection);
        start("GET /late");
        assert_eq!(drain.stragglers().iter().count(), 0);
    }
}
