//! The core: drains, guards, and the waits for a phase. It has no unsafe code and no runtime, and
//! doesn't depend on which features are enabled.
//!
//! # Ownership
//!
//! ```text
//!  Drain, Observer ──► Node   handles          the last that is dropped begins the drain
//!                       │     latch            the level
//!                       │     registry         records of tracked guards
//!                       │     parts, one per core:
//!                       │       tally          counts of presences
//!                       │       state.kept ────────┐  until draining, and no child is left
//!                       │       state.list ──► WaitList ──► Node     until drained
//!                       │       state.children ──► Node (below)      until it has drained
//!                       │       state.parent ──► Node (above)        until it has drained
//!                       ▼                          │
//!                     Weak<Seat>                   ▼
//!  Guard ───────────────┴─────────────────────► Seat ──► Node
//!  Guard of a tracked drain ──► Seat (own) ──► Entry ──► Seat (shard) ──► Node
//!  Registry ──► RecordList ──► Record ──► Seat (own)                      until draining has begun
//!  UntilDraining, … ──► WaitList ──► Node
//! ```
//!
//! `kept → Seat → Node → kept` is a cycle on purpose: while the drain runs, it holds the counts
//! above zero. Beginning the drain drops `kept`, and with it the cycle; since the last handle
//! begins the drain, none is left behind. From then on guards keep the seats, and seats keep the
//! node. When the last seat ends, the drain is drained, which cuts the other cycles.
//!
//! A child is one allocation: its only part is in the node, and its seat and its wait list are
//! created by its first guard and its first wait. As long as a part has children, it keeps its
//! seat, or doesn't close if it has none.
//!
//! # Terms of the code
//!
//! | term | meaning |
//! |---|---|
//! | node | what a drain, its guards and its waiters share; its children are nodes |
//! | part | what the threads of one core share of a node: a shard, a wait list, some children |
//! | seat | what a guard points to: a shard or, if guards are tracked, an entry of its own |
//! | shard | a seat that the guards of some threads share: one per core, a child has one |
//! | kept | the first `Arc` of a seat, until draining begins; a part with children has it longer |
//! | presence | an `Arc` of a seat that is not work: kept, of an idle connection, or a server's |
//! | tally | how many presences there are that a part does not keep |
//! | latch | the phase as a level that only rises |
//! | wait list | the wakers that wait for a phase |
//! | settled | the phase to which all nodes below have been moved |
//! | look | the count that is made when aborting begins |
//! | record | label, place and age of a tracked guard |
//! | details | what a child has only once it needs it: the limit of a phase, the abandoned work |
//!
//! # Ordering edges
//!
//! | edge | what it orders | stated in |
//! |---|---|---|
//! | E1 | what was done before a raise, before code that sees the phase | `latch` |
//! | E2 | a raise and a waiter that registers | `latch` |
//! | E3 | the work of all guards, before drained | `tally` |
//! | E4 | the same, before a refused guard | `tally` |
//! | E5 | a presence and its `Arc`, for a count | `tally` |
//! | E6 | the walk of the tree, before a node that is settled | `raise` |
//! | E7 | work that moves while aborting begins, and the look | `raise` |
//! | E8 | presences that begin or end while aborting begins, and the look | `raise` |
//!
//! # Locks
//!
//! In this order, each taken only under those before it:
//!
//! 1. the `state`s of a node, a parent's before its children's; those of one node in the order of
//!    its parts;
//! 2. the turn of a list of the registry;
//! 3. a list of the registry, or a wait list. No lock is taken under these.
//!
//! A raise wakes waiters after it has released the `state`s. No user code (a waker, a drop, a
//! callback) runs under any of them (S6): what ends under a lock is handed out and dropped after
//! it.
//!
//! # Dependencies
//!
//! `phase`, `sync`, `thread_index`, `tally`, `isolated` and `work_state` import nothing of the
//! rest. `node`, `part`, `seat`, `latch` and, for tracked guards, `registry`, `record_list`,
//! `record` and `entry` own each other, as drawn above; `raise`, `tree`, `counts` and `presence`
//! are methods of `Node`. Of the crate, this module imports the errors, the values of the report,
//! the clock, and the wrappers of `ext`.

pub(crate) mod connection_guard;
mod counts;
mod details;
mod entry;
pub(crate) mod guard;
mod isolated;
pub(crate) mod latch;
#[cfg(all(test, any(loom, shuttle)))]
mod models;
pub(crate) mod node;
mod observer;
pub(crate) mod park;
mod part;
pub(crate) mod phase;
pub(crate) mod presence;
mod raise;
pub(crate) mod readiness;
mod record;
mod record_list;
mod registry;
pub(crate) mod seat;
pub(crate) mod sync;
mod tally;
mod thread_index;
mod tree;
pub(crate) mod until;
mod work_state;

use std::{
    fmt,
    panic::Location,
    sync::{Arc as StdArc, OnceLock},
    thread,
    time::Instant,
};

pub use self::observer::Observer;
use self::{
    guard::Guard,
    node::{MOST_SHARDS, Node},
    phase::Phase,
};
use crate::{Drained, Refused, Stragglers};

/// Hands out [`Guard`]s, begins the shutdown, and tells when the last guard has dropped.
///
/// A drain is a handle: clones are the same drain. Dropping the last one begins the drain, since no
/// code could begin it later; store an [`Observer`] where that must not be prevented. Guards and
/// waiting futures are not handles.
///
/// A guard costs about two atomic instructions on a cache line of its own core. Nothing here polls,
/// sleeps or needs a runtime.
///
/// To wait for known tasks, join them: a guard carries no result. To tell tasks to stop, and no
/// more, use a cancellation token. On tokio, `TaskTracker` counts tasks as this does; a drain works
/// there, too, and adds phases, deadlines and the report.
///
/// ```
/// use async_drain::Drain;
///
/// let drain = Drain::new();
/// let guard = drain.guard()?;
///
/// drain.begin();
/// assert!(drain.admit().is_err()); // no new work
/// assert!(drain.guard().is_ok()); // work already promised goes on
/// assert_eq!(drain.in_flight(), 1);
///
/// drop(guard);
/// drain.until_drained().wait();
/// # Ok::<(), async_drain::Drained>(())
/// ```
pub struct Drain {
    /// It counts its handles, and the drop of the last begins the drain.
    node: StdArc<Node>,
}

impl Clone for Drain {
    fn clone(&self) -> Self {
        self.node.add_handle();
        Self {
            node: StdArc::clone(&self.node),
        }
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.node.drop_handle();
    }
}

impl Drain {
    /// Creates a drain that counts its guards and keeps no record of each.
    #[must_use]
    pub fn new() -> Self {
        Self::with_shards(cores(), false)
    }

    /// Creates a drain that records the label, place and age of each guard, for
    /// [`stragglers`](Self::stragglers) and the report.
    ///
    /// A tracked guard costs a lock that few threads contend for and a look at a clock, and
    /// allocates only if more guards are alive than shortly before. Memory for many is given back
    /// by the next call that counts them, or gradually by further guards.
    ///
    /// ```
    /// use async_drain::Drain;
    ///
    /// let drain = Drain::tracked();
    /// let guard = drain.guard()?.labeled("GET /export");
    /// let stragglers = drain.stragglers();
    /// assert_eq!(stragglers.iter().next().unwrap().label.as_deref(), Some("GET /export"));
    /// # drop(guard);
    /// # Ok::<(), async_drain::Drained>(())
    /// ```
    #[must_use]
    pub fn tracked() -> Self {
        Self::with_shards(cores(), true)
    }

    /// For the tests of this crate, which are to find the same on every machine.
    #[doc(hidden)]
    #[must_use]
    pub fn with_shards(shards: usize, tracked: bool) -> Self {
        let shards = shards.clamp(1, MOST_SHARDS).next_power_of_two();
        Self {
            node: Node::new(shards, tracked),
        }
    }

    pub(crate) fn node(&self) -> &StdArc<Node> {
        &self.node
    }

    /// Returns a handle that watches this drain and takes guards of it, but can't begin or abort it
    /// and doesn't keep it running.
    #[must_use]
    pub fn observer(&self) -> Observer {
        Observer::new(self.node())
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
        let seat = match self.node.own_seat() {
            // E7: Relaxed, as in `Node::created`.
            Some(seat) if !self.node.latch.is_relaxed(Phase::Draining) => Some(seat),
            own => Node::late_seat(&self.node, own, Location::caller()),
        };
        seat.map(Guard::new).ok_or(Drained)
    }

    /// Creates a guard for new work, which is refused from the moment draining begins.
    ///
    /// # Errors
    ///
    /// Returns [`Refused`] exactly from the moment draining begins. Lame duck refuses nothing.
    ///
    /// ```
    /// # use async_drain::Drain;
    /// let drain = Drain::new();
    /// drain.enter_lame_duck();
    /// assert!(drain.admit().is_ok());
    /// drain.begin();
    /// let refused = drain.admit().unwrap_err();
    /// assert_eq!(refused.to_string(), "new work refused: the drain is drained");
    /// ```
    #[inline]
    #[track_caller]
    pub fn admit(&self) -> Result<Guard, Refused> {
        self.node().admit()?;
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

    /// Returns how many guards are alive, those of [children](Self::child) included.
    ///
    /// The number is exact while no guard is created or dropped, and costs a look at every shard
    /// and child. To wait for zero, use [`until_drained`](Self::until_drained).
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.node.in_flight()
    }

    /// Returns when the current phase will be cut short, if anything has set a limit.
    ///
    /// In lame duck and draining, that is the end of the grace period; in aborting, the end of the
    /// abort grace. It is set before the phase begins.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.node.deadline()
    }

    /// Enters lame duck: still accepting, but already unready and telling peers to leave.
    ///
    /// Returns whether this call did it.
    pub fn enter_lame_duck(&self) -> bool {
        self.node.raise_by_hand(Phase::LameDuck, None)
    }

    /// Begins draining: no new work, and work in flight finishes.
    ///
    /// Returns whether this call did it.
    pub fn begin(&self) -> bool {
        self.node.raise_by_hand(Phase::Draining, None)
    }

    /// Begins draining and publishes when it will be cut short, for work that reads
    /// [`deadline`](Self::deadline).
    ///
    /// Cutting it short is the caller's task: call [`abort`](Self::abort) then. If a deadline is
    /// already set, the earlier one holds. Returns whether this call began the drain.
    ///
    /// ```
    /// # use std::time::{Duration, Instant};
    /// # use async_drain::Drain;
    /// let drain = Drain::new();
    /// let work = drain.guard()?;
    /// let deadline = Instant::now() + Duration::from_secs(10);
    /// drain.begin_with_deadline(deadline);
    /// assert_eq!(work.deadline(), Some(deadline));
    /// # Ok::<(), async_drain::Drained>(())
    /// ```
    pub fn begin_with_deadline(&self, deadline: Instant) -> bool {
        self.node.raise_by_hand(Phase::Draining, Some(deadline))
    }

    /// Begins aborting: cancels the work that is left, and begins draining if nothing has.
    ///
    /// Returns whether this call did it.
    pub fn abort(&self) -> bool {
        self.node.raise_by_hand(Phase::Aborting, None)
    }

    /// Returns a value that begins draining when it is dropped, e.g. because a task that the
    /// program can't do without has ended or panicked.
    ///
    /// It keeps the drain running as a clone does.
    ///
    /// ```
    /// # use async_drain::Drain;
    /// let drain = Drain::new();
    /// let begin = drain.begin_on_drop();
    /// let worker = std::thread::spawn(move || {
    ///     let _begin = begin;
    ///     panic!("the only worker fails");
    /// });
    /// drain.until_drained().wait();
    /// # worker.join().unwrap_err();
    /// ```
    pub fn begin_on_drop(&self) -> BeginOnDrop {
        BeginOnDrop {
            drain: self.clone(),
        }
    }

    /// Creates a child: a drain that begins with this one, or alone, and that this one waits for.
    ///
    /// A child is a drain of its own. Dropping its last handle begins it, so
    /// `drain.child().guard()` is a guard that reads "draining": keep the child while its work
    /// runs. The child does not keep its parent running either, so a child's child needs the child
    /// kept. A child that is created while this drain is draining is born draining, and drains at
    /// once, since it has no guard: for work that was promised before, take a guard of the parent.
    ///
    /// It is cheap enough for one per connection: one allocation, and one more for its first guard.
    /// Its guards are counted in one place, so they are best created on few threads.
    ///
    /// ```
    /// # use async_drain::Drain;
    /// let server = Drain::new();
    /// let connection = server.child();
    /// let request = connection.guard()?;
    ///
    /// connection.begin(); // alone
    /// assert!(!server.is_draining());
    /// server.begin();
    /// assert_eq!(server.in_flight(), 1);
    /// drop(request);
    /// server.until_drained().wait();
    /// # Ok::<(), async_drain::Drained>(())
    /// ```
    #[must_use = "dropping the child begins its drain"]
    pub fn child(&self) -> Self {
        Self::child_of(self.node())
    }

    /// Does the same for code that has no handle of the parent.
    pub(crate) fn child_of(parent: &StdArc<Node>) -> Self {
        let node = Node::child(parent);
        if !Node::adopt(parent, &node) {
            // It ends at once, and a parent that has drained has nothing to forget.
            node.raise(Phase::Draining, parent.deadline());
        }
        Self { node }
    }

    /// Returns the guards that are alive, here and in children: how many and, if the drain
    /// [tracks](Self::tracked) them, their label, place and age.
    #[must_use]
    pub fn stragglers(&self) -> Stragglers {
        self.node.stragglers()
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain")
            .field("phase", &self.phase())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// Begins a drain when it is dropped; returned by [`Drain::begin_on_drop`].
///
/// It keeps the drain running as a clone does.
#[must_use = "dropping it begins the drain"]
pub struct BeginOnDrop {
    drain: Drain,
}

impl Drop for BeginOnDrop {
    fn drop(&mut self) {
        self.drain.begin();
    }
}

impl fmt::Debug for BeginOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BeginOnDrop")
            .field("phase", &self.drain.phase())
            .finish_non_exhaustive()
    }
}

/// Returns how many cores this machine has. That is asked once, since the answer is read from
/// several files.
fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, usize::from))
}
