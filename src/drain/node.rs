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
//!     its look at the phase (`created`, `Drain::guard`) finds draining, and it waits for `state`:
//!     it returns when all is counted, and the guard that it replaces drops later still. So the
//!     last place of each piece of work that was created without waiting is one that is counted.
//!     While the drain runs, no creation waits.
//! E8. What is not work is not counted. A thread that begins or ends a presence, which is an `Arc`
//!     that is not work, does both halves of it under `state`. A connection that becomes idle or
//!     active can't, since that is the hot path. It learns from its own read-modify-write on which
//!     side of the count it was (`Tally::look`), and so whether its work is in the record.
//!
//! Which lock is taken under which is written in the header of the module `drain`.

use std::{
    borrow::Cow,
    iter, mem,
    panic::Location,
    sync::{OnceLock, atomic},
    time::{Duration, Instant},
};

use slab::Slab;

use crate::{
    Drained, Guard, Refused, Straggler, Stragglers,
    clock::Timestamp,
    drain::{
        latch::Latch,
        phase::Phase,
        readiness::Holds,
        seat::{self, Seat},
        sync::{Arc, AtomicU8, Mutex, Ordering, Weak, lock},
        tally::Tally,
        tracked::{Entry, Registry, WorkState},
    },
};

pub(crate) struct Node {
    pub(crate) latch: Latch,
    pub(crate) tally: Tally,
    /// Set once, by `new`: the seats need the node, and the node its seats.
    pub(crate) shards: OnceLock<Arc<[Weak<Seat>]>>,
    /// When the current phase will be cut short, if anything has set a limit.
    limit: Mutex<Option<Limit>>,
    /// How many guards there were when draining began here, set by `raise` for the report, which
    /// may be begun later.
    begun_with: Mutex<Option<usize>>,
    /// E7 E8: locked while aborting begins.
    state: Mutex<State>,
    /// The phase to which all below has been moved.
    settled: AtomicU8,
    /// How many of the presences are accept loops and tasks of servers. It only informs, so models
    /// don't see it.
    serving: atomic::AtomicU32,
    /// What makes the parent wait for this node, set by `adopt` and taken at the end.
    parent: Mutex<Option<ParentLink>>,
    /// The records of guards, if they are tracked.
    pub(crate) registry: Option<Registry>,
}

struct State {
    /// The first `Arc` of each shard. Beginning the drain drops them.
    kept: Vec<Arc<Seat>>,
    children: Slab<Weak<Node>>,
    /// The abandoned work, for the report: our own that was alive when aborting began here, our own
    /// that was lost at another time, and what children that have ended had here.
    abandoned: Option<Box<Stragglers>>,
    /// Set once this node has ended and the parent has its copy of the record.
    ended: bool,
    /// What keeps the program unready, and what else servers tell; set when it is first asked for.
    holds: Option<std::sync::Arc<Holds>>,
}

impl State {
    fn abandon(&mut self, work: Stragglers) {
        if work.total() > 0 {
            self.abandoned.get_or_insert_default().append(work);
        }
    }
}

/// How long draining or aborting may last.
#[derive(Clone, Copy)]
struct Limit {
    to: Phase,
    at: Instant,
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

/// A presence in the parent, and where the parent lists this node.
struct ParentLink {
    seat: Arc<Seat>,
    key: usize,
}

impl Node {
    pub(crate) fn new(shards: usize, tracked: bool) -> Arc<Self> {
        let node = Arc::new(Self {
            latch: Latch::new(shards),
            tally: Tally::new(shards),
            shards: OnceLock::new(),
            limit: Mutex::new(None),
            begun_with: Mutex::new(None),
            state: Mutex::new(State {
                kept: Vec::new(),
                children: Slab::new(),
                abandoned: None,
                ended: false,
                holds: None,
            }),
            settled: AtomicU8::new(Phase::Running as u8),
            serving: atomic::AtomicU32::new(0),
            parent: Mutex::new(None),
            registry: tracked.then(|| Registry::new(shards)),
        });
        let kept: Vec<_> = (0..shards).map(|_| Seat::shard(&node)).collect();
        let weak = kept.iter().map(Arc::downgrade).collect();
        // It is new, so nothing is set.
        let _ = node.shards.set(weak);
        lock(&node.state).kept = kept;
        node
    }

    pub(crate) fn shards(&self) -> &Arc<[Weak<Seat>]> {
        self.shards.get().expect("`new` has set the shards")
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
        std::sync::Arc::clone(lock(&self.state).holds.get_or_insert_default())
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        lock(&self.limit).map(|limit| limit.at)
    }

    /// Moves this drain and all below it to `phase` (S1), to be cut short at `deadline` if one is
    /// given. Returns whether this call moved this drain. Even if it did not, all below has moved
    /// when it returns.
    pub(crate) fn raise(&self, phase: Phase, deadline: Option<Instant>) -> bool {
        if phase >= Phase::Draining && !self.latch.is(Phase::Draining) {
            let in_flight = self.in_flight();
            lock(&self.begun_with).get_or_insert(in_flight);
        }
        self.raise_uncounted(phase, deadline)
    }

    /// Like [`raise`](Self::raise), where no handle is left that could ask for a report.
    pub(crate) fn raise_uncounted(&self, phase: Phase, deadline: Option<Instant>) -> bool {
        if phase == Phase::Aborting {
            return self.abort(deadline);
        }
        let limit = deadline.map(|at| Limit { to: phase, at });
        if let Some(limit) = limit {
            // S7: published everywhere before anything moves, since a task that a phase of this
            // drain wakes may read the deadline of a child.
            self.for_each(|node| node.publish(limit));
        }
        let moved = self.step(phase, limit);
        if limit.is_some() || !self.is_settled(phase) {
            // A list, not a recursion: the tree may be ten thousand deep.
            let mut below = self.children();
            let mut next = 0;
            while let Some(child) = below.get(next) {
                child.step(phase, limit);
                if limit.is_some() || !child.is_settled(phase) {
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
            // S7: published everywhere before anything moves, since a task that a phase of this
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
            let mut states: Vec<_> = all().map(|node| lock(&node.state)).collect();
            let now = Timestamp::now();
            let looks: Vec<_> = all()
                .map(|node| {
                    if node.latch.is(Phase::Aborting) {
                        Stragglers::none()
                    } else {
                        node.look(now, &mut ended)
                    }
                })
                .collect();
            let moved = all().zip(&mut states).zip(looks);
            moved
                .map(|((node, state), look)| {
                    let before = node.latch.advance(Phase::Aborting);
                    // A drain that has drained since then was not aborted.
                    if before < Phase::Aborting {
                        state.abandon(look);
                    }
                    before
                })
                .collect()
        };
        for (node, &before) in all().zip(&before) {
            node.latch.wake(before, Phase::Aborting);
            if before < Phase::Draining {
                node.release();
            }
        }
        drop(ended);
        for node in &below {
            node.settle(Phase::Aborting);
        }
        self.settle(Phase::Aborting);
        // If nothing was in flight, it drained as soon as it began.
        before[0] < Phase::Aborting || begun && before[0] == Phase::Drained
    }

    /// Returns the guards that are alive here, exactly (E7 E8). `state` is locked, here and
    /// wherever else they may move.
    fn look(&self, now: Timestamp, ended: &mut Vec<Seat>) -> Stragglers {
        let mut known = Vec::new();
        let mut kept = 0;
        if let Some(registry) = &self.registry {
            kept = registry.count_kept();
            registry.collect(now, &mut known);
        }
        let count = self.tally.look(|| kept + seat::look(self.shards(), ended));
        Stragglers::alive(count, known)
    }

    /// Takes a seat that was created just now, and returns it once it is counted, if an abort is
    /// counting.
    #[inline]
    pub(crate) fn created(&self, seat: Arc<Seat>) -> Arc<Seat> {
        self.wait_for_look();
        seat
    }

    /// Returns a seat for a guard that is not tracked, if draining has begun or the calling
    /// thread's shard has ended; `own` is the seat in that shard. Out of line, and the whole of the
    /// rest, so that the hot path of `Drain::guard` is short (C1).
    #[cold]
    #[inline(never)]
    pub(crate) fn late_seat(&self, own: Option<Arc<Seat>>) -> Option<Arc<Seat>> {
        let seat = own.or_else(|| seat::late_seat(self.shards()));
        seat.map(|seat| self.created(seat))
    }

    /// Waits until an abort that is counting has finished counting.
    #[inline]
    fn wait_for_look(&self) {
        // E7: Relaxed, since what the caller did before has acquired the raise if it must be seen.
        if self.latch.level().reached_relaxed(Phase::Draining) {
            self.wait_for_state();
        }
    }

    #[cold]
    fn wait_for_state(&self) {
        drop(lock(&self.state));
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

    fn step(&self, phase: Phase, limit: Option<Limit>) -> bool {
        // S7: published first, so that code that sees the phase can read it.
        if let Some(limit) = limit {
            self.publish(limit);
        }
        let before = self.latch.raise(phase);
        if before < Phase::Draining && phase >= Phase::Draining {
            self.release();
        }
        before < phase
    }

    fn publish(&self, limit: Limit) {
        let mut published = lock(&self.limit);
        *published = Some(published.map_or(limit, |earlier| earlier.then(limit)));
    }

    /// Drops the kept `Arc`s: from here on a shard ends with its last guard.
    fn release(&self) {
        let mut ended = Vec::new();
        {
            let mut state = lock(&self.state);
            for seat in mem::take(&mut state.kept) {
                self.tally.end_presence();
                ended.extend(Seat::give_up(seat));
            }
            if let Some(registry) = &self.registry {
                registry.release(&self.tally, &mut ended);
            }
        }
        // What ends with them may wake waiters, which must not happen under our lock (S6).
        drop(ended);
    }

    /// Ends a shard of `node`, which has no owner left. The last one ends the drain (L2), and with
    /// it perhaps the parent's last shard: a loop, not a recursion, for the same reason as in
    /// `raise`.
    pub(crate) fn shard_emptied(node: Arc<Self>) {
        let mut next = Some(node);
        while let Some(node) = next.take() {
            if !node.tally.last_shard() {
                return;
            }
            node.latch.raise(Phase::Drained);
            let Some(link) = lock(&node.parent).take() else {
                return;
            };
            // The seat's own drop would come back here one stack frame deeper.
            next = Self::forget_child(link, &node).and_then(Seat::into_node);
        }
    }

    /// Makes `child`, a new drain that no other thread knows yet, a child of this one. Returns
    /// `false` if this one has drained.
    pub(crate) fn adopt(&self, child: &Arc<Self>) -> bool {
        {
            let mut state = lock(&self.state);
            let Some(seat) = seat::seat(self.shards()) else {
                return false;
            };
            self.tally.begin_presence();
            *lock(&child.parent) = Some(ParentLink {
                seat,
                key: state.children.vacant_key(),
            });
            state.children.insert(Arc::downgrade(child));
        }
        // Register the child before reading the phase: a concurrent `raise` either finds it in the
        // list, or has moved this node before we took the lock, which we see here.
        let phase = self.latch.phase();
        if phase > Phase::Running {
            let limit = *lock(&self.limit);
            child.step(phase.min(Phase::Aborting), limit);
        }
        true
    }

    /// Creates a guard without a label, for a caller at `place`.
    #[inline]
    pub(crate) fn guard(&self, place: &'static Location<'static>) -> Result<Guard, Drained> {
        self.seat_at(place).map(Guard::new).ok_or(Drained)
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
    pub(crate) fn seat_at(&self, place: &'static Location<'static>) -> Option<Arc<Seat>> {
        self.seat(place, None)
    }

    /// Returns a seat for a guard that was asked for at `place`, with a record if guards are
    /// tracked.
    pub(crate) fn seat(
        &self,
        place: &'static Location<'static>,
        label: Option<Cow<'static, str>>,
    ) -> Option<Arc<Seat>> {
        let shard = || seat::seat(self.shards());
        let seat = match &self.registry {
            Some(registry) => registry.enter(self, place, label, shard),
            None => shard(),
        };
        seat.map(|seat| self.created(seat))
    }

    /// Keeps this drain from being drained, for something that is not work itself but brings some:
    /// an accept loop.
    pub(crate) fn presence(&self) -> Option<Presence> {
        let _state = lock(&self.state);
        let seat = seat::seat(self.shards())?;
        self.tally.begin_presence();
        self.serving.fetch_add(1, atomic::Ordering::Relaxed);
        Some(Presence {
            seat: Some(seat),
            for_task: false,
        })
    }

    /// Like [`presence`](Self::presence), for a task of a server, of which there is one per
    /// request: it takes no lock while the drain runs.
    ///
    /// While it is created it may be counted as work. It is created when there is work, so then it
    /// is not the only one. One that ends in the instant in which a running drain is aborted by
    /// hand may be counted, too.
    pub(crate) fn presence_for_task(&self) -> Option<Presence> {
        let seat = seat::seat(self.shards())?;
        self.tally.begin_presence();
        self.serving.fetch_add(1, atomic::Ordering::Relaxed);
        Some(Presence {
            seat: Some(seat),
            for_task: true,
        })
    }

    /// Ends the presence of `seat`, and drops it. What ends with it ends outside the lock.
    pub(crate) fn end_presence(seat: Arc<Seat>) {
        let node = Arc::clone(seat.node());
        let ended = {
            let _state = lock(&node.state);
            node.tally.end_presence();
            Seat::give_up(seat)
        };
        drop(ended);
    }

    /// Removes `child`, which has ended, from the node that `link` leads to. Returns what ends with
    /// it.
    fn forget_child(link: ParentLink, child: &Self) -> Option<Seat> {
        let ParentLink { seat, key } = link;
        // The seat is dropped while the lock of its node is held.
        let parent = Arc::clone(seat.node());
        let (place, ended) = {
            let mut state = lock(&parent.state);
            {
                let mut below = lock(&child.state);
                below.ended = true;
                // While the parent runs, a child that ends is only its own report's business, and
                // records would pile up.
                if parent.latch.is(Phase::LameDuck) {
                    if let Some(abandoned) = &below.abandoned {
                        state.abandon(abandoned.as_ref().clone());
                    }
                }
            }
            let place = state.children.try_remove(key);
            parent.tally.end_presence();
            (place, Seat::give_up(seat))
        };
        drop(place);
        ended
    }

    fn children(&self) -> Vec<Arc<Node>> {
        lock(&self.state)
            .children
            .iter()
            .filter_map(|(_, child)| child.upgrade())
            .collect()
    }

    /// Returns all nodes below, parents before their children.
    fn below(&self) -> Vec<Arc<Node>> {
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
    /// began above.
    pub(crate) fn begun_with(&self) -> usize {
        let recorded = *lock(&self.begun_with);
        recorded.unwrap_or_else(|| self.in_flight())
    }

    /// Records work as abandoned (S8); its label, place and age are in `entry`. If aborting has
    /// begun and the work was alive then, it is recorded already: `work` tells that of a
    /// connection, and other work was alive.
    pub(crate) fn abandon(&self, work: Option<&WorkState>, entry: Option<&Entry>) {
        let mut state = lock(&self.state);
        // E8: aborting is raised under the lock, once the work is counted.
        if !self.latch.is(Phase::Aborting) || work.is_some_and(WorkState::is_uncounted) {
            state.abandon(Stragglers::lost(entry.and_then(Entry::straggler)));
        }
        // E8: under the lock, so that it is not counted as well when aborting begins.
        if work.is_some_and(WorkState::abandon) {
            self.tally.begin_presence();
        }
    }

    /// Marks a connection idle: it no longer counts as in flight.
    #[inline]
    pub(crate) fn rest(&self, work: &WorkState) {
        work.set_at_work(false);
        // E8: work that ends before aborting begins is not in that record.
        if !self.tally.begin_presence() {
            work.set_uncounted(true);
        }
    }

    /// Marks a connection at work again.
    #[inline]
    pub(crate) fn resume(&self, work: &WorkState) {
        // E8: work that begins again during the count is in the record, and what the connection did
        // before may be as well.
        work.set_uncounted(self.tally.end_presence());
        self.wait_for_look();
    }

    /// Returns the work of this drain and of all below it that was abandoned, oldest first.
    pub(crate) fn abandoned(&self) -> Stragglers {
        let below = self.below();
        let mut all = Stragglers::none();
        // Held together: a child that ends hands its record on to its parent.
        let own = lock(&self.state);
        let states: Vec<_> = below.iter().map(|node| lock(&node.state)).collect();
        let records = iter::once(&own).chain(states.iter().filter(|state| !state.ended));
        for record in records.filter_map(|state| state.abandoned.as_deref()) {
            all.append(record.clone());
        }
        drop(states);
        drop(own);
        all.sort();
        all
    }

    /// Returns how many guards are alive here and below.
    pub(crate) fn in_flight(&self) -> usize {
        let mut sum = 0;
        self.for_each(|node| sum += node.own_in_flight());
        sum
    }

    fn own_in_flight(&self) -> usize {
        // The kept seats first: if draining begins in between, their guards are counted twice
        // rather than not at all.
        let kept = self.registry.as_ref().map_or(0, Registry::count_kept);
        self.tally.count(|| kept + seat::count(self.shards()))
    }

    /// Returns how many connections are idle: the presences that are nothing else.
    fn own_idle(&self) -> usize {
        let state = lock(&self.state);
        let others = state.kept.len()
            + state.children.len()
            + self.registry.as_ref().map_or(0, Registry::kept_records);
        // Relaxed: a number to be shown.
        let serving = self.serving.load(atomic::Ordering::Relaxed);
        let serving = usize::try_from(serving).unwrap_or(usize::MAX);
        (self.tally.count_presences()).saturating_sub(others.saturating_add(serving))
    }

    /// Returns what is to be shown of the work here and below, by one walk.
    pub(crate) fn overview(&self) -> Overview {
        let mut overview = Overview::default();
        let now = Timestamp::now();
        self.for_each(|node| {
            overview.in_flight += node.own_in_flight();
            overview.idle += node.own_idle();
            if let Some(registry) = &node.registry {
                registry.oldest(now, Overview::OLDEST, &mut overview.oldest);
            }
        });
        overview
    }

    /// Returns the guards that are alive here and below, oldest first.
    pub(crate) fn stragglers(&self) -> Stragglers {
        let now = Timestamp::now();
        let mut known = Vec::new();
        self.for_each(|node| {
            if let Some(registry) = &node.registry {
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
    pub(crate) fn node(&self) -> &Node {
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
        // Relaxed, here and where it begins: it publishes nothing.
        (seat.node().serving).fetch_sub(1, atomic::Ordering::Relaxed);
        if self.for_task && !seat.node().latch.is(Phase::Draining) {
            seat.node().tally.end_presence();
        } else {
            Node::end_presence(seat);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use crate::{Drain, Phase};

    #[test]
    fn a_presence_keeps_the_drain_and_is_not_in_flight() {
        let drain = Drain::new();
        let presence = drain.node().presence();
        assert_eq!(drain.in_flight(), 0);
        let work = drain.guard().unwrap();
        drop(drain.node().presence());
        assert_eq!(drain.in_flight(), 1);
        drop(work);
        drain.begin();
        assert_eq!((drain.phase(), drain.in_flight()), (Phase::Draining, 0));
        drop(presence);
        assert_eq!(drain.phase(), Phase::Drained);
    }
}
