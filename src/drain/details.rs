//! What a node keeps for the report, and the limit of its phase: most children have neither.

use std::{sync::Arc as StdArc, time::Instant};

use crate::{
    Stragglers,
    drain::{latch::WaitList, node::Node, phase::Phase, readiness::Holds, seat::Seat, sync::Arc},
};

#[derive(Default)]
pub(crate) struct Details {
    /// When the current phase will be cut short, if anything has set a limit.
    pub(crate) limit: Option<Limit>,
    /// How many guards there were when draining began here, set by `raise` for the report, which
    /// may be begun later.
    pub(crate) begun_with: Option<usize>,
    /// The abandoned work, for the report: our own that was alive when aborting began here, our own
    /// that was lost at another time, and what children that have ended had here.
    pub(crate) abandoned: Option<Box<Stragglers>>,
    /// Set once this node has ended and the parent has its copy of the abandoned work.
    pub(crate) ended: bool,
    /// What keeps the program unready, and what else servers tell; set when it is first asked for.
    pub(crate) holds: Option<StdArc<Holds>>,
    /// What keeps other data off the cache lines of a drain that is not a child, until it has
    /// drained.
    pub(crate) spacers: Option<Spacers>,
}

impl Details {
    pub(crate) fn abandon(&mut self, work: Stragglers) {
        self.abandoned.get_or_insert_default().append(work);
    }

    pub(crate) fn publish(&mut self, limit: Limit) {
        self.limit = Some(self.limit.map_or(limit, |earlier| earlier.then(limit)));
    }
}

/// What lies around a node, and between and around the seats and wait lists of its parts.
pub(crate) struct Spacers {
    pub(crate) _nodes: Vec<StdArc<Node>>,
    pub(crate) _seats: Vec<Arc<Seat>>,
    pub(crate) _lists: Vec<StdArc<WaitList>>,
}

/// How long draining or aborting may last.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) to: Phase,
    pub(crate) at: Instant,
}

impl Limit {
    /// Returns which of the two applies, `self` or a `later` one that is being set. Aborting has a
    /// limit of its own, which no limit of draining replaces; of two limits of draining, the
    /// earlier applies.
    fn then(self, later: Self) -> Self {
        if later.to >= Phase::Aborting {
            later
        } else if self.to >= Phase::Aborting || self.at < later.at {
            self
        } else {
            later
        }
    }
}
