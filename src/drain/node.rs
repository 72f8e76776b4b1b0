//! A node: what a drain, its guards and its waiters share, and its place in the tree of children.
//!
//! # Orderings
//!
//! E6. A thread that finds a drain settled at a phase sees all below it moved to that phase:
//!     `settled` is raised with `Release` once the walk is done, and read with `Acquire`. A child
//!     that comes later moves itself (`adopt`).
//! E7. Work that is alive while aborting begins is counted, wherever it moves while we count (S8).
//!     To move is to create a guard in one place and then to drop the one in another. `abort`
//!     raises draining first, holds the `state` locks of all nodes concerned while it counts, and
//!     reads each place by a read-modify-write that releases the raise: an upgrade of a shard, an
//!     addition to the presences that have ended, the lock of a list of records. A creation that
//!     comes before that in its place is counted. One that comes after it acquires the raise, so
//!     its look at the phase (`created`, `Drain::guard`) finds draining, and it waits for a
//!     `state`: it returns when all is counted, and the guard that it replaces drops later still.
//!     So the last place of each piece of work that was created without waiting is one that is
//!     counted. While the drain runs, no creation waits.
//! E8. What is not work is not counted. A thread that begins or ends a presence, which is an `Arc`
//!     that is not work, does both halves of it under the `state` of its part; so does one that
//!     keeps the first `Arc` of a shard, or gives it up. A connection that becomes idle or active
//!     can't, since that is the hot path. It learns from its own read-modify-write on which side of
//!     the count it was (`Tally::look`), and so whether its work is in the record.
//!
//! Which lock is taken under which is written in the header of the module `drain`.

use std::{
    borrow::Cow,
    iter,
    panic::Location,
    sync::{Arc as StdArc, OnceLock},
    time::{Duration, Instant},
};

use crate::{
    Drained, Guard, Refused, Straggler, Stragglers,
    clock::Timestamp,
    drain::{
        isolated::isolated,
        latch::{Latch, WaitList},
        part::{Key, Part, Released, State},
        phase::Phase,
        readiness::Holds,
        record::{Limit, Record, Spacers},
        seat::Seat,
        sync::{Arc, AtomicU8, AtomicUsize, CachePadded, MutexGuard, Ordering, Weak, fence, lock},
        tally::LiveShards,
        thread_index::thread_index,
        tracked::{Entry, Registry, WorkState},
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
    own: Part,
    /// The parts of a drain that is not a child. Set once, by `new`: the parts need the node.
    shards: OnceLock<Box<Shards>>,
    /// How many shards have not ended.
    live: LiveShards,
    pub(crate) latch: Latch,
    /// The phase to which all below has been moved.
    settled: AtomicU8,
    tracked: bool,
}

/// The parts of a drain that is not a child, one per core.
struct Shards {
    /// The seats of the parts, over and over, so that a guard finds its own without asking how many
    /// there are (C1). Empty ones if guards are tracked, since those take another way.
    seats: [Weak<Seat>; MOST_SHARDS],
    parts: Vec<CachePadded<Part>>,
}

/// More cores share shards. A power of two.
pub(crate) const MOST_SHARDS: usize = if cfg!(any(loom, shuttle)) { 4 } else { 256 };

impl Node {
    /// Creates the node of a drain with so many parts, a power of two.
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
        node.with_record(|record| {
            record.spacers = Some(Spacers {
                _nodes: other_nodes,
                _seats: other_seats,
                _lists: other_lists,
            });
        });
        node
    }

    /// Creates the node of a child, which its parent does not know yet.
    pub(crate) fn child(tracked: bool) -> StdArc<Self> {
        StdArc::new(Self::with(1, tracked))
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
    fn several(&self) -> &[CachePadded<Part>] {
        self.shards.get().map_or(&[], |shards| &shards.parts)
    }

    fn is_child(&self) -> bool {
        self.several().is_empty()
    }

    /// Returns the part that belongs to the calling thread.
    #[inline]
    fn part(&self) -> &Part {
        match self.several() {
            [] => &self.own,
            // Their number is a power of two.
            parts => &parts[thread_index() & (parts.len() - 1)].0,
        }
    }

    /// Returns the index of that part.
    #[inline]
    fn part_index(&self) -> usize {
        match self.several() {
            [] => 0,
            parts => thread_index() & (parts.len() - 1),
        }
    }

    #[inline]
    pub(crate) fn part_at(&self, index: usize) -> &Part {
        self.several().get(index).map_or(&self.own, |part| &part.0)
    }

    /// Returns the first part, which has the record of the node.
    fn first(&self) -> &Part {
        self.part_at(0)
    }

    /// Returns all parts, in the order in which they are locked.
    fn parts(&self) -> impl Iterator<Item = &Part> {
        let own = self.is_child().then_some(&self.own);
        own.into_iter()
            .chain(self.several().iter().map(|part| &part.0))
    }

    fn lock_all(&self) -> Vec<MutexGuard<'_, State>> {
        self.parts().map(|part| lock(&part.state)).collect()
    }

    /// Runs `f` on the record of this node.
    fn with_record<T>(&self, f: impl FnOnce(&mut Record) -> T) -> T {
        f(lock(&self.first().state).record.get_or_insert_default())
    }

    pub(crate) fn is_tracked(&self) -> bool {
        self.tracked
    }

    fn registry(&self) -> Option<&Registry> {
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
        // Locked, so that `follow` finds the registry, or this finds that it has been there.
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

    pub(crate) fn holds(&self) -> std::sync::Arc<Holds> {
        self.with_record(|record| std::sync::Arc::clone(record.holds.get_or_insert_default()))
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let state = lock(&self.first().state);
        let limit = state.record.as_ref().and_then(|record| record.limit);
        limit.map(|limit| limit.at)
    }

    /// Moves this drain and all below it to `phase` (S1), to be cut short at `deadline` if one is
    /// given. Returns whether this call moved this drain. Even if it did not, all below has moved
    /// when it returns.
    ///
    /// Counts the guards for a report, if this begins the drain.
    pub(crate) fn raise(&self, phase: Phase, deadline: Option<Instant>) -> bool {
        if phase >= Phase::Draining && !self.latch.is(Phase::Draining) {
            let in_flight = self.in_flight();
            self.with_record(|record| {
                record.begun_with.get_or_insert(in_flight);
            });
        }
        self.raise_uncounted(phase, deadline)
    }

    /// Like [`raise`](Self::raise), for a caller that does not report. In a child it does not
    /// count: a line of drains that begin one by one from the bottom would be counted once for
    /// each.
    pub(crate) fn raise_by_hand(&self, phase: Phase, deadline: Option<Instant>) -> bool {
        if self.is_child() {
            self.raise_uncounted(phase, deadline)
        } else {
            self.raise(phase, deadline)
        }
    }

    /// Like [`raise`](Self::raise), where no handle is left that could ask for a report.
    fn raise_uncounted(&self, phase: Phase, deadline: Option<Instant>) -> bool {
        if phase == Phase::Aborting {
            return self.abort(deadline);
        }
        let limit = deadline.map(|at| Limit { to: phase, at });
        if let Some(limit) = limit {
            // S7: published everywhere before anything moves, since a task that a phase of self
            // drain wakes may read the deadline of a child.
            self.for_each(|node| node.publish(limit));
        }
        let (moved, childless) = self.step(phase, limit);
        if !childless && (limit.is_some() || !self.is_settled(phase)) {
            // A list, not a recursion: the tree may be ten thousand deep.
            let mut below = self.children();
            let mut next = 0;
            while let Some(child) = below.get(next) {
                let (_, childless) = child.step(phase, limit);
                if !childless && (limit.is_some() || !child.is_settled(phase)) {
                    let further = child.children();
                    below.extend(further);
                }
                next += 1;
            }
            for child in &below {
                child.settle(phase);
            }
            self.settle(phase);
        }
        moved
    }

    /// Moves this drain and all below it to aborting, and records the work that is alive (S8). Work
    /// is counted before it is told to abort, so it can't be gone by then.
    fn abort(&self, deadline: Option<Instant>) -> bool {
        let limit = deadline.map(|at| Limit {
            to: Phase::Aborting,
            at,
        });
        if let Some(limit) = limit {
            // S7: published everywhere before anything moves, since a task that a phase of self
            // drain wakes may read the deadline of a child.
            self.for_each(|node| node.publish(limit));
        }
        // E7: pairs with `created`.
        let begun = self.raise_uncounted(Phase::Draining, None);
        if limit.is_none() && self.is_settled(Phase::Aborting) {
            return begun;
        }
        // A child that comes later is born draining, so it has no guards.
        let below = self.below();
        let all = || iter::once(self).chain(below.iter().map(|node| &**node));
        if let Some(limit) = limit {
            all().for_each(|node| node.publish(limit));
        }

        let mut ended = Vec::new();
        let before: Vec<_> = {
            // E7: held together, from the first look until all has moved.
            let mut states: Vec<_> = all().map(Node::lock_all).collect();
            let now = Timestamp::now();
            let looks: Vec<_> = all()
                .zip(&states)
                .map(|(node, states)| {
                    if node.latch.is(Phase::Aborting) {
                        Stragglers::none()
                    } else {
                        node.look(states, now, &mut ended)
                    }
                })
                .collect();
            let moved = all().zip(&mut states).zip(looks);
            moved
                .map(|((node, states), look)| {
                    let before = node.latch.advance(Phase::Aborting);
                    // A drain that has drained since then was not aborted.
                    if before < Phase::Aborting && look.total() > 0 {
                        states[0].record.get_or_insert_default().abandon(look);
                    }
                    before
                })
                .collect()
        };
        for (node, &before) in all().zip(&before) {
            node.follow(before, Phase::Aborting);
        }
        drop(ended);
        for node in &below {
            node.settle(Phase::Aborting);
        }
        self.settle(Phase::Aborting);
        // If nothing was in flight, it drained as soon as it began.
        before[0] < Phase::Aborting || begun && before[0] == Phase::Drained
    }

    /// Returns the guards that are alive here, exactly (E7 E8). All `states` of this node are
    /// locked, and those of all others to which guards may move.
    fn look(
        &self,
        states: &[MutexGuard<'_, State>],
        now: Timestamp,
        ended: &mut Vec<Seat>,
    ) -> Stragglers {
        let mut known = Vec::new();
        let mut kept = 0;
        if let Some(registry) = self.registry() {
            (kept, known) = registry.look(now);
        }
        let looks = self.parts().zip(states);
        let work: isize = looks.map(|(part, state)| part.look(state, ended)).sum();
        Stragglers::alive(kept.saturating_add_signed(work), known)
    }

    /// Takes a seat that was created just now, and returns it once it is counted, if an abort is
    /// counting.
    #[inline]
    pub(crate) fn created(&self, seat: Arc<Seat>) -> Arc<Seat> {
        self.wait_for_look();
        seat
    }

    /// Returns a seat in the calling thread's shard for a guard that is not tracked, or `None` if
    /// that shard has ended. Guards that are tracked or a child's are for `late_seat`.
    #[inline]
    pub(crate) fn own_seat(&self) -> Option<Arc<Seat>> {
        self.shards.get()?.seats[thread_index() % MOST_SHARDS].upgrade()
    }

    /// Returns a seat for a guard that was asked for at `place`, if draining has begun or there is
    /// no `own` seat. Out of line, and the whole of the rest, so that the hot path of
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

    /// Waits until an abort that is counting has finished counting.
    #[inline]
    fn wait_for_look(&self) {
        // E7: Relaxed, since what the caller did before has acquired the raise if it must be seen.
        if self.latch.is_relaxed(Phase::Draining) {
            self.wait_for_state();
        }
    }

    #[cold]
    #[inline(never)]
    fn wait_for_state(&self) {
        drop(lock(&self.part().state));
    }

    /// Returns whether all below has been moved to `phase`, so that a line of drains that end one
    /// by one is not walked once for each.
    fn is_settled(&self, phase: Phase) -> bool {
        // E6: pairs with `settle`.
        self.settled.load(Ordering::Acquire) >= phase as u8
    }

    fn settle(&self, phase: Phase) {
        // E6: pairs with `is_settled`.
        self.settled.fetch_max(phase as u8, Ordering::Release);
    }

    /// Moves this drain alone. Returns whether this call moved it, and whether it is known to have
    /// no children but those that come later, which move themselves.
    fn step(&self, phase: Phase, limit: Option<Limit>) -> (bool, bool) {
        // S7: published first, so that code that sees the phase can read it.
        if let Some(limit) = limit {
            self.publish(limit);
        }
        let before = self.latch.advance(phase);
        let childless = self.follow(before, phase);
        (before < phase, childless)
    }

    fn publish(&self, limit: Limit) {
        self.with_record(|record| record.publish(limit));
    }

    /// Does what follows from the raise of the level from `before` to `phase`: wakes all that waits
    /// for that, and, if draining has begun, drops the kept `Arc`s. From then on a shard ends with
    /// its last guard. Returns whether there were no children after the raise.
    fn follow(&self, before: Phase, phase: Phase) -> bool {
        if before >= phase {
            return false;
        }
        let mut childless = true;
        let begun = before < Phase::Draining && phase >= Phase::Draining;
        for part in self.parts() {
            let (list, released) = {
                let mut state = lock(&part.state);
                // E2: pairs with `Part::list_in`.
                let list = state.list.clone();
                childless &= state.children.is_empty();
                let released = if begun {
                    state.release(part)
                } else {
                    Released::Alive
                };
                (list, released)
            };
            if let Some(list) = list {
                list.wake(before, phase);
            }
            // What ends with it may wake waiters, which must not happen under our lock (S6).
            if let Released::Empty = released {
                Self::shard_emptied(self);
            }
        }
        if let (true, Some(registry)) = (begun, self.registry()) {
            let mut ended = Vec::new();
            {
                let _states = self.lock_all();
                registry.release(self, &mut ended);
            }
            drop(ended);
        }
        childless
    }

    /// Ends a shard of `node`, which has no owner left. The last one ends the drain (L2), and with
    /// it perhaps the parent's last shard: a loop, not a recursion, for the same reason as in
    /// `raise`.
    pub(crate) fn shard_emptied(node: &Self) {
        let mut next = node.end_shard();
        while let Some(node) = next {
            next = node.end_shard();
        }
    }

    /// Ends a shard. Returns the parent if the end of this node has ended a shard of it.
    fn end_shard(&self) -> Option<StdArc<Self>> {
        if !self.live.last_shard() {
            return None;
        }
        self.latch.advance(Phase::Drained);
        let (mut parent, mut has_record, mut spacers) = (None, false, None);
        for part in self.parts() {
            let list = {
                let mut state = lock(&part.state);
                parent = parent.or(state.parent.take());
                if let Some(record) = &mut state.record {
                    has_record = true;
                    spacers = spacers.or(record.spacers.take());
                }
                // E2: pairs with `Part::list_in`.
                state.list.take()
            };
            if let Some(list) = list {
                // Also for earlier phases: a thread that raised to one of them doesn't find the
                // list if it comes later.
                list.wake(Phase::Running, Phase::Drained);
            }
        }
        drop(spacers);
        let parent = parent?;
        Self::forget_child(&parent, self, has_record)
    }

    /// Removes `child`, which has ended, from its part. Returns this node if that ends the shard of
    /// the part.
    fn forget_child(this: &StdArc<Self>, child: &Self, has_record: bool) -> Option<StdArc<Self>> {
        if has_record {
            this.take_over(child);
        }
        let part = this.part_at(child.key.part());
        let (place, released) = {
            let mut state = lock(&part.state);
            let place = state.children.remove(child);
            (place, state.give_up_kept(part))
        };
        drop(place);
        match released {
            Released::Alive => None,
            Released::Empty => Some(StdArc::clone(this)),
            // Its own drop would come back here one stack frame deeper.
            Released::Seat(seat) => seat.into_node(),
        }
    }

    /// Takes over what `child`, which has ended, has on record.
    fn take_over(&self, child: &Self) {
        let mut state = lock(&self.first().state);
        let mut below = lock(&child.own.state);
        let Some(record) = &mut below.record else {
            return;
        };
        record.ended = true;
        // While the parent runs, a child that ends is only its own report's business, and records
        // would pile up.
        if self.latch.is(Phase::LameDuck) {
            if let Some(abandoned) = &record.abandoned {
                let record = state.record.get_or_insert_default();
                record.abandon(abandoned.as_ref().clone());
            }
        }
    }

    /// Makes `child`, a new drain that no other thread knows yet, a child of this one. Returns
    /// `false` if this one has drained.
    pub(crate) fn adopt(this: &StdArc<Self>, child: &StdArc<Self>) -> bool {
        let mut parts = iter::once(this.part_index()).chain(0..this.several().len());
        if !parts.any(|index| Self::adopt_in(this, index, child)) {
            return false;
        }
        // Register the child before reading the phase: a concurrent `raise` either finds it in the
        // list, or has moved this node before we took the lock, which we see here.
        let phase = this.latch.phase();
        if phase > Phase::Running {
            let limit = lock(&this.first().state)
                .record
                .as_ref()
                .and_then(|record| record.limit);
            child.step(phase.min(Phase::Aborting), limit);
        }
        true
    }

    /// Makes `child` a child in the part with that index, unless the shard of that has ended.
    fn adopt_in(this: &StdArc<Self>, index: usize, child: &StdArc<Self>) -> bool {
        let part = this.part_at(index);
        let mut state = lock(&part.state);
        if !state.keep(part) {
            return false;
        }
        lock(&child.own.state).parent = Some(StdArc::clone(this));
        state.children.insert(StdArc::clone(child), index);
        true
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

    /// Keeps this drain from being drained, for something that is not work itself but brings some:
    /// an accept loop.
    pub(crate) fn presence(this: &StdArc<Self>) -> Option<Presence> {
        let seat = this.parts().enumerate().find_map(|(index, part)| {
            let mut state = lock(&part.state);
            let seat = part.seat_in(&mut state, this, index)?;
            part.tally.begin_presence();
            part.tally.begin_serving();
            Some(seat)
        });
        Some(Presence {
            seat: Some(seat?),
            for_task: false,
        })
    }

    /// Like [`presence`](Self::presence), for a task of a server, of which there is one per
    /// request: it takes no lock while the drain runs.
    ///
    /// While it is created it may be counted as work. It is created when there is work, so then it
    /// is not the only one. One that ends in the instant in which a running drain is aborted by
    /// hand may be counted, too.
    pub(crate) fn presence_for_task(this: &StdArc<Self>) -> Option<Presence> {
        let seat = Self::shard_seat(this)?;
        let tally = &this.part_at(seat.part()).tally;
        tally.begin_presence();
        tally.begin_serving();
        Some(Presence {
            seat: Some(seat),
            for_task: true,
        })
    }

    /// Ends the presence of `seat`, and drops it. What ends with it ends outside the lock.
    pub(crate) fn end_presence(seat: Arc<Seat>) {
        let node = StdArc::clone(seat.node());
        let part = node.part_at(seat.part());
        let ended = {
            let _state = lock(&part.state);
            part.tally.end_presence();
            Seat::give_up(seat)
        };
        drop(ended);
    }

    /// Returns the children.
    fn children(&self) -> Vec<StdArc<Node>> {
        let mut children = Vec::new();
        for part in self.parts() {
            part.children(&mut children);
        }
        children
    }

    /// Returns all nodes below, parents before their children.
    fn below(&self) -> Vec<StdArc<Node>> {
        let mut below = self.children();
        let mut next = 0;
        while let Some(child) = below.get(next) {
            let further = child.children();
            below.extend(further);
            next += 1;
        }
        below
    }

    /// Calls `each` for this drain and all below it.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&Node)) {
        each(self);
        let mut below = self.children();
        while let Some(child) = below.pop() {
            each(&child);
            below.extend(child.children());
        }
    }

    /// Returns how many guards were alive here and below when draining began, or are now if it
    /// began above, or by hand in a child.
    pub(crate) fn begun_with(&self) -> usize {
        let record = self.with_record(|record| record.begun_with);
        record.unwrap_or_else(|| self.in_flight())
    }

    /// Records work as abandoned (S8); its label, place and age are in `entry`. If aborting has
    /// begun and the work was alive then, it is recorded already: `work` tells that of a
    /// connection, and other work was alive.
    pub(crate) fn abandon(&self, work: Option<&WorkState>, entry: Option<&Entry>) {
        let known = entry.and_then(Entry::straggler);
        let mut state = lock(&self.first().state);
        // E8: aborting is raised under the lock, once the work is counted.
        if !self.latch.is(Phase::Aborting) || work.is_some_and(WorkState::is_uncounted) {
            state
                .record
                .get_or_insert_default()
                .abandon(Stragglers::lost(known));
        }
        // E8: under the lock, so that it is not counted as well when aborting begins.
        if let Some(part) = work.and_then(WorkState::abandon) {
            self.part_at(part).tally.begin_presence();
        }
    }

    /// Marks a connection idle: it no longer counts as in flight.
    #[inline]
    pub(crate) fn rest(&self, work: &WorkState) {
        work.set_at_work(false);
        // E8: work that ends before aborting begins is not in that record.
        if !self.part_at(work.part()).tally.begin_presence() {
            work.set_uncounted(true);
        }
    }

    /// Marks a connection at work again.
    #[inline]
    pub(crate) fn resume(&self, work: &WorkState) {
        // E8: work that begins again during the count is in the record, and what the connection did
        // before may be as well.
        work.set_uncounted(self.part_at(work.part()).tally.end_presence());
        self.wait_for_look();
    }

    /// Returns the work of this drain and of all below it that was abandoned, oldest first.
    pub(crate) fn abandoned(&self) -> Stragglers {
        let below = self.below();
        let mut all = Stragglers::none();
        // Held together: a child that ends hands its record on to its parent.
        let own = lock(&self.first().state);
        let states: Vec<_> = below.iter().map(|node| lock(&node.first().state)).collect();
        let records = states.iter().filter_map(|state| state.record.as_ref());
        let records = records.filter(|record| !record.ended);
        for record in own.record.iter().chain(records) {
            if let Some(abandoned) = &record.abandoned {
                all.append(abandoned.as_ref().clone());
            }
        }
        drop(states);
        drop(own);
        all.sort();
        all
    }

    /// Returns how many guards are alive here and below.
    pub(crate) fn in_flight(&self) -> usize {
        let mut sum = 0;
        self.for_each(|node| {
            // The kept seats first: if draining begins in between, their guards are counted twice
            // rather than not at all.
            let kept = node.registry().map_or(0, Registry::count_kept);
            sum += node.own_in_flight(kept);
        });
        sum
    }

    /// Returns how many guards are alive here, of which so many are in `kept` seats.
    fn own_in_flight(&self, kept: usize) -> usize {
        let work: isize = self.parts().map(Part::count).sum();
        kept.saturating_add_signed(work)
    }

    /// Returns how many connections are idle: the presences that are nothing else.
    fn own_idle(&self) -> usize {
        let presences: isize = self.parts().map(|part| part.tally.count_presences()).sum();
        let others = self.registry().map_or(0, Registry::kept_records);
        usize::try_from(presences).map_or(0, |presences| presences.saturating_sub(others))
    }

    /// Returns what is to be shown of the work here and below, by one walk.
    pub(crate) fn overview(&self) -> Overview {
        let mut overview = Overview::default();
        let now = Timestamp::now();
        self.for_each(|node| {
            let registry = node.registry();
            let kept = registry.map_or(0, |known| {
                known.overview(now, Overview::OLDEST, &mut overview.oldest)
            });
            overview.in_flight += node.own_in_flight(kept);
            overview.idle += node.own_idle();
        });
        overview
    }

    /// Returns the guards that are alive here and below, oldest first.
    pub(crate) fn stragglers(&self) -> Stragglers {
        let now = Timestamp::now();
        let mut known = Vec::new();
        self.for_each(|node| {
            if let Some(registry) = node.registry() {
                registry.collect(now, &mut known);
            }
        });
        let mut stragglers = Stragglers::alive(self.in_flight(), known);
        stragglers.sort();
        stragglers
    }
}

/// What is to be shown of the work of a drain and of all below it.
#[derive(Default)]
pub(crate) struct Overview {
    pub(crate) in_flight: usize,
    /// How many connections are between requests.
    pub(crate) idle: usize,
    /// The oldest of the guards, oldest first, if they are tracked.
    pub(crate) oldest: Vec<Straggler>,
}

impl Overview {
    /// How many of the oldest guards are named.
    const OLDEST: usize = 3;
}

/// Keeps a drain from being drained without counting as in flight.
pub(crate) struct Presence {
    /// Taken by the drop.
    seat: Option<Arc<Seat>>,
    for_task: bool,
}

impl Presence {
    #[inline]
    pub(crate) fn node(&self) -> &StdArc<Node> {
        let seat = self.seat.as_ref();
        seat.unwrap_or_else(|| unreachable!("only `drop` takes it"))
            .node()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let Some(seat) = self.seat.take() else {
            return;
        };
        let tally = &seat.node().part_at(seat.part()).tally;
        tally.end_serving();
        if self.for_task && !seat.node().latch.is(Phase::Draining) {
            tally.end_presence();
        } else {
            Node::end_presence(seat);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::mem::offset_of;

    use super::Node;
    use crate::{Drain, Phase};

    /// C3: the level is off the cache lines of what handles write.
    #[test]
    fn handles_write_to_no_line_of_the_level() {
        assert!(offset_of!(Node, latch) - offset_of!(Node, handles) >= 128);
    }

    #[test]
    fn a_presence_keeps_the_drain_and_is_not_in_flight() {
        let drain = Drain::new();
        let presence = Node::presence(drain.node());
        assert_eq!(drain.in_flight(), 0);
        let work = drain.guard().unwrap();
        drop(Node::presence(drain.node()));
        assert_eq!(drain.in_flight(), 1);
        drop(work);
        drain.begin();
        assert_eq!((drain.phase(), drain.in_flight()), (Phase::Draining, 0));
        drop(presence);
        assert_eq!(drain.phase(), Phase::Drained);
    }
}
