use std::{borrow::Cow, panic::Location, sync::Arc as StdArc};

use crate::{
    clock::Timestamp,
    drain::{
        node::Node,
        seat::Seat,
        sync::{Arc, Weak},
        work_state::WorkState,
    },
    report::Straggler,
};

/// A seat, and what is known of the guard in it or of the last one that was.
pub(super) struct Record {
    pub(super) seat: SeatOwner,
    pub(super) label: Option<Cow<'static, str>>,
    pub(super) place: &'static Location<'static>,
    pub(super) since: Timestamp,
    /// Set for a connection, which is at work only at times: it is a straggler only then.
    pub(super) work: Option<StdArc<WorkState>>,
}

/// How a record refers to its seat.
pub(super) enum SeatOwner {
    /// By the first `Arc`, while the drain runs.
    Kept(Arc<Seat>),
    Released(Weak<Seat>),
}

impl Record {
    /// Returns whether a guard is in the seat.
    #[inline]
    pub(super) fn taken(&self) -> bool {
        match &self.seat {
            SeatOwner::Kept(seat) => Arc::strong_count(seat) > 1,
            SeatOwner::Released(seat) => seat.strong_count() > 0,
        }
    }

    #[inline]
    pub(super) fn is_kept(&self) -> bool {
        matches!(self.seat, SeatOwner::Kept(_))
    }

    /// Marks the connection at work: its age is that of the work.
    pub(super) fn resume(&mut self) {
        if let Some(work) = &self.work {
            if !work.is_at_work() {
                self.since = Timestamp::lately();
                work.set_at_work(true);
            }
        }
    }

    pub(super) fn straggler(&self, now: Timestamp) -> Straggler {
        Straggler {
            label: self.label.clone(),
            place: self.place,
            age: now.since(self.since),
            lost: false,
        }
    }

    pub(super) fn is_at_work(&self) -> bool {
        // Relaxed: it is set under the lock, by which we see the time as well. That it is cleared
        // we may see late.
        self.work.as_ref().is_none_or(|work| work.is_at_work())
    }

    /// Ends the presence of the seat, which is vacant.
    pub(super) fn free(self) {
        if let SeatOwner::Kept(seat) = self.seat {
            Node::end_presence(seat);
        }
    }
}
