use std::{fmt, panic::Location, sync::Arc as StdArc, time::Instant};

use crate::{
    Drained, Refused, Stragglers,
    drain::{guard::Guard, node::Node, phase::Phase},
};

/// Watches a drain and takes guards of it, but can't begin or abort it and doesn't keep it running.
///
/// Store an observer, not a clone of the [`Drain`](crate::Drain), in whatever lives as long as the
/// program: the state of a handler, a layer, a pool. The last [`Drain`](crate::Drain) that is
/// dropped begins the drain, which can't happen while such a place keeps one.
///
/// ```
/// use async_drain::Drain;
///
/// let drain = Drain::new();
/// let observer = drain.observer();
/// let work = observer.guard()?;
/// assert!(!observer.is_draining());
///
/// drop(drain); // the last handle: the drain begins
/// assert!(observer.is_draining());
/// assert!(observer.admit().is_err());
/// drop(work);
/// observer.until_drained().wait();
/// # Ok::<(), async_drain::Drained>(())
/// ```
#[derive(Clone)]
pub struct Observer {
    node: StdArc<Node>,
}

impl Observer {
    pub(crate) fn new(node: &StdArc<Node>) -> Self {
        Self {
            node: StdArc::clone(node),
        }
    }

    #[inline]
    pub(crate) fn node(&self) -> &StdArc<Node> {
        &self.node
    }

    /// Creates a guard for work that has already been promised, also while draining.
    ///
    /// # Errors
    ///
    /// Returns [`Drained`] once the drain has drained, and from then on always. While the drain
    /// runs, this never fails.
    #[inline]
    #[track_caller]
    pub fn guard(&self) -> Result<Guard, Drained> {
        Node::guard(&self.node, Location::caller())
    }

    /// Creates a guard for new work, which is refused from the moment draining begins.
    ///
    /// # Errors
    ///
    /// Returns [`Refused`] exactly from the moment draining begins. Lame duck refuses nothing.
    #[inline]
    #[track_caller]
    pub fn admit(&self) -> Result<Guard, Refused> {
        self.node.admit()?;
        self.guard().map_err(|Drained| Refused::new(Phase::Drained))
    }

    /// Returns the stage of shutdown that the drain has reached.
    #[inline]
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.node.latch.phase()
    }

    /// Returns whether draining has begun.
    ///
    /// This is one load from a cache line that is written only when the phase changes.
    #[inline]
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.node.latch.is(Phase::Draining)
    }

    /// Returns how many guards are alive, as [`Drain::in_flight`](crate::Drain::in_flight) does.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.node.in_flight()
    }

    /// Returns when the current phase will be cut short, as
    /// [`Drain::deadline`](crate::Drain::deadline) does.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.node.deadline()
    }

    /// Returns the guards that are still alive, as [`Drain::stragglers`](crate::Drain::stragglers)
    /// does.
    #[must_use]
    pub fn stragglers(&self) -> Stragglers {
        self.node.stragglers()
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer")
            .field("phase", &self.phase())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
