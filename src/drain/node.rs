//! A node: what a drain, its guards and its waiters share. How nodes move to a phase is in `raise`,
//! how they become children and end in `tree`, what they count in `counts`.
//!
//! Which lock is taken under which is written in the header of the module `drain`.

use std::{
    borrow::Cow,
    panic::Location,
    sync::{Arc as StdArc, OnceLock},
    time::Duration,
};

use crate::{
    Drained, Guard, Refused,
    drain::{
        details::{Details, Spacers},
        isolated::isolated,
        latch::{Latch, WaitList},
        part::{Key, Part, State},
        phase::Phase,
        readiness::Holds,
        registry::Registry,
        seat::Seat,
        sync::{Arc, AtomicU8, AtomicUsize, CachePadded, MutexGuard, Ordering, Weak, fence, lock},
        tally::LiveShards,
        thread_index::thread_index,
    },
};

// In this order, because what is read for each guard stands at the end, off the cache lines of what
// handles and children write. `own` lies between: a drain that is not a child doesn't use it.
//
// The count of its `Arc` decides nothing but when its memory is freed, so models don't see it.
#[repr(C)]
pub(crate) struct Node {
    /// How many handles there are. The last that is dropped begins the drain.
    handles: AtomicUsize,
    /// Where the parent lists this node.
    pub(crate) key: Key,
    /// The records of guards, if they are tracked. Set by the first of them.
    registry: OnceLock<Box<Registry>>,
    /// The only part of a child.
    pub(super) own: Part,
    /// The parts of a drain that is not a child. Set once, by `new`: the parts need the node.
    shards: OnceLock<Box<Shards>>,
    /// How many shards have not ended.
    pub(super) live: LiveShards,
    pub(crate) latch: Latch,
    /// The phase to which all below has been moved.
    pub(super) settled: AtomicU8,
    tracked: bool,
}

/// The parts of a drain that is not a child, one per core.
struct Shards {
    /// The seats of the parts, repeated until the array is full, so that a guard finds its own
    /// without asking how many there are (C1). Empty ones if guards are tracked, since those take
    /// another way.
    seats: [Weak<Seat>; MOST_SHARDS],
    parts: Vec<CachePadded<Part>>,
}

/// The most shards, a power of two. If there are more cores, some share one.
pub(crate) const MOST_SHARDS: usize = if cfg!(any(loom, shuttle)) { 4 } else { 256 };

impl Node {
    /// Creates the node of a drain with this number of parts, a power of two.
    pub(crate) fn new(parts: usize, tracked: bool) -> StdArc<Self> {
        let (nodes, other_nodes) = isolated(1, || StdArc::new(Self::with(parts, tracked)));
        let node = StdArc::clone(&nodes[0]);
        let (seats, other_seats) = isolated(parts, || Arc::new(Seat::ended()));
        let (lists, other_lists) = isolated(parts, || StdArc::new(WaitList::new(&node)));
        let mut shards = Box::new(Shards {
            seats: [const { Weak::new() }; MOST_SHARDS],
            parts: Vec::with_capacity(parts),
        });
        for (index, (mut seat, list)) in seats.into_iter().zip(lists).enumerate() {
            if let Some(seat) = Arc::get_mut(&mut seat) {
                *seat = Seat::shard(&node, index);
            }
            if !tracked {
                let own = shards.seats.iter_mut().skip(index).step_by(parts);
                own.for_each(|place| *place = Arc::downgrade(&seat));
            }
            shards.parts.push(CachePadded(Part::with(seat, list)));
        }
        // It is new, so nothing is set.
        let _ = node.shards.set(shards);
        node.registry_of_guards();
        node.with_details(|details| {
            details.spacers = Some(Spacers {
                _nodes: other_nodes,
                _seats: other_seats,
                _lists: other_lists,
            });
        });
        node
    }

    /// Creates the node of a child, which `parent` does not know yet.
    pub(crate) fn child(parent: &StdArc<Self>) -> StdArc<Self> {
        StdArc::new(Self {
            own: Part::of_child(parent),
            ..Self::with(1, parent.tracked)
        })
    }

    fn with(shards: usize, tracked: bool) -> Self {
        Self {
            handles: AtomicUsize::new(1),
            key: Key::new(),
            live: LiveShards::new(shards),
            settled: AtomicU8::new(Phase::Running as u8),
            tracked,
            registry: OnceLock::new(),
            own: Part::new(),
            shards: OnceLock::new(),
            latch: Latch::new(),
        }
    }

    /// Adds a handle.
    pub(crate) fn add_handle(&self) {
        // Relaxed: the caller has a handle, so the last one is not dropped.
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// Drops a handle. The last one begins the drain.
    #[inline]
    pub(crate) fn drop_handle(&self) {
        // E1: what was done before any handle was dropped is visible to code that sees draining:
        // `Release` by each, `Acquire` by the last.
        if self.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.raise_uncounted(Phase::Draining, None);
        }
    }

    /// Returns the parts of a drain that is not a child.
    #[inline]
    pub(super) fn several(&self) -> &[CachePadded<Part>] {
        self.shards.get().map_or(&[], |shards| &shards.parts)
    }

    pub(super) fn is_child(&self) -> bool {
        self.several().is_empty()
    }

    /// Returns the part that belongs to the calling thread.
    #[inline]
    pub(super) fn part(&self) -> &Part {
        match self.several() {
            [] => &self.own,
            // Their number is a power of two.
            parts => &parts[thread_index() & (parts.len() - 1)].0,
        }
    }

    /// Returns the index of that part.
    #[inline]
    pub(super) fn part_index(&self) -> usize {
        match self.several() {
            [] => 0,
            parts => thread_index() & (parts.len() - 1),
        }
    }

    #[inline]
    pub(crate) fn part_at(&self, index: usize) -> &Part {
        self.several().get(index).map_or(&self.own, |part| &part.0)
    }

    /// Returns the first part, which has the details of the node.
    pub(super) fn first(&self) -> &Part {
        self.part_at(0)
    }

    /// Returns all parts, in the order in which they are locked.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Part> {
        let own = self.is_child().then_some(&self.own);
        own.into_iter()
            .chain(self.several().iter().map(|part| &part.0))
    }

    pub(super) fn lock_all(&self) -> Vec<MutexGuard<'_, State>> {
        self.parts().map(|part| lock(&part.state)).collect()
    }

    /// Runs `f` on the details of this node.
    pub(super) fn with_details<T>(&self, f: impl FnOnce(&mut Details) -> T) -> T {
        f(lock(&self.first().state).details.get_or_insert_default())
    }

    pub(crate) fn is_tracked(&self) -> bool {
        self.tracked
    }

    pub(super) fn registry(&self) -> Option<&Registry> {
        self.registry.get().map(Box::as_ref)
    }

    /// Returns the registry of a drain that tracks its guards, and creates it if there is none.
    pub(crate) fn registry_of_guards(&self) -> Option<&Registry> {
        if !self.tracked {
            return None;
        }
        self.registry().or_else(|| self.first_registry())
    }

    #[cold]
    fn first_registry(&self) -> Option<&Registry> {
        // Locked, so that `follow` finds the registry, or this sees what `follow` has released.
        let state = lock(&self.first().state);
        let new = || Registry::new(self.several().len(), state.is_released());
        self.registry.get_or_init(|| Box::new(new()));
        drop(state);
        self.registry()
    }

    /// Notes that a server gives its idle peers so long while draining, so that an operator can be
    /// warned if that is longer than the grace period.
    #[allow(dead_code, reason = "only servers have such a limit")]
    pub(crate) fn note_idle_limit(&self, name: &'static str, limit: Duration) {
        self.holds().note_idle_limit(name, limit);
    }

    /// Returns the longest time that was noted, if it is longer than `grace`.
    pub(crate) fn idle_limit_beyond(&self, grace: Duration) -> Option<(&'static str, Duration)> {
        let (name, limit) = self.holds().idle_limit()?;
        (limit > grace).then_some((name, limit))
    }

    pub(crate) fn holds(&self) -> StdArc<Holds> {
        self.with_details(|details| StdArc::clone(details.holds.get_or_insert_default()))
    }

    /// Returns a seat in the calling thread's shard for a guard that is not tracked, or `None` if
    /// that shard has ended. Guards that are tracked or a child's are for `late_seat`.
    #[inline]
    pub(crate) fn own_seat(&self) -> Option<Arc<Seat>> {
        self.shards.get()?.seats[thread_index() % MOST_SHARDS].upgrade()
    }

    /// Returns a seat for a guard that was asked for at `place`, if draining has begun or there is
    /// no `own` seat. Out of line, and all of the slower cases, so that the hot path of
    /// `Drain::guard` is short (C1).
    #[cold]
    #[inline(never)]
    pub(crate) fn late_seat(
        this: &StdArc<Self>,
        own: Option<Arc<Seat>>,
        place: &'static Location<'static>,
    ) -> Option<Arc<Seat>> {
        match own {
            Some(seat) => Some(this.created(seat)),
            None => Self::seat_at(this, place),
        }
    }

    /// Returns a seat in the calling thread's shard or, if that has ended, in any; `None` once all
    /// have (S3).
    #[inline]
    pub(crate) fn shard_seat(this: &StdArc<Self>) -> Option<Arc<Seat>> {
        let index = this.part_index();
        let own = this.part_at(index).any_seat(this, index);
        own.or_else(|| Self::other_seat(this))
    }

    /// Returns a seat in any shard: while draining, one may have ended before others. A shard that
    /// has ended stays so; hence, if every upgrade failed, all had ended by the last one.
    #[cold]
    fn other_seat(this: &StdArc<Self>) -> Option<Arc<Seat>> {
        let mut parts = this.parts().enumerate();
        let seat = parts.find_map(|(index, part)| part.any_seat(this, index));
        if seat.is_none() {
            // E4: an upgrade that fails is `Relaxed`; pairs with the `Release` decrements of
            // `Arc`'s drop.
            fence(Ordering::Acquire);
        }
        seat
    }

    /// Returns the wait list of the calling thread's core, unless the drain has drained.
    #[inline]
    pub(crate) fn wait_list(this: &StdArc<Self>) -> Option<StdArc<WaitList>> {
        this.part().list().or_else(|| Self::first_list(this))
    }

    #[cold]
    fn first_list(this: &StdArc<Self>) -> Option<StdArc<WaitList>> {
        let part = this.part();
        part.list_in(&mut lock(&part.state), this)
    }

    /// Creates a guard without a label, for a caller at `place`.
    #[inline]
    pub(crate) fn guard(
        this: &StdArc<Self>,
        place: &'static Location<'static>,
    ) -> Result<Guard, Drained> {
        Self::seat_at(this, place).map(Guard::new).ok_or(Drained)
    }

    /// Refuses new work once draining has begun (S4).
    #[inline]
    pub(crate) fn admit(&self) -> Result<(), Refused> {
        let phase = self.latch.phase();
        if phase >= Phase::Draining {
            return Err(Refused::new(phase));
        }
        Ok(())
    }

    /// Like [`seat`](Self::seat), without a label. Out of line, so that its callers stay small.
    #[inline(never)]
    pub(crate) fn seat_at(
        this: &StdArc<Self>,
        place: &'static Location<'static>,
    ) -> Option<Arc<Seat>> {
        Self::seat(this, place, None)
    }

    /// Returns a seat for a guard that was asked for at `place`, with a record if guards are
    /// tracked.
    pub(crate) fn seat(
        this: &StdArc<Self>,
        place: &'static Location<'static>,
        label: Option<Cow<'static, str>>,
    ) -> Option<Arc<Seat>> {
        let shard = || Self::shard_seat(this);
        let seat = match this.registry_of_guards() {
            Some(registry) => registry.enter(this, place, label, shard),
            None => shard(),
        };
        seat.map(|seat| this.created(seat))
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::mem::offset_of;

    use super::Node;

    /// C3: the level is off the cache lines of what handles write.
    #[test]
    fn handles_write_to_no_line_of_the_level() {
        assert!(offset_of!(Node, latch) - offset_of!(Node, handles) >= 128);
    }
}
