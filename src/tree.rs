//! What a drain, its guards and those who wait for it share: the phase, the count, and the tree of children.
//!
//! # Orderings
//!
//! E6. Whoever finds a drain settled at a phase sees all below it moved to that phase: `settled` is raised with
//!     `Release` once the walk is done, and read with `Acquire`. Children that come later move themselves (`adopt`).
//! E7. Work that is alive while aborting begins is counted, wherever it moves while we count (S8). To move is to create
//!     a guard in one place and then to end the one in another. `abort` raises draining first, holds the `state`
//!     locks of all drains concerned while it counts, and reads each place by a read-modify-write that releases the
//!     raise: an upgrade of a shard, an addition to `forgone`, the lock of a list of tracked guards. A creation that
//!     comes before it in that place is counted. One that comes after it acquires the raise, so its look at the phase
//!     (`created`) finds draining, and it waits for `state`: it returns when all is counted, and the guard that it
//!     replaces ends later still. So the last place of each piece of work that was created without waiting is one
//!     that is counted. Nobody waits while the drain runs.
//! E8. What is no work is not counted. Whoever takes or gives up a hold, which is an `Arc` that is no work, does both
//!     halves of it under `state`. A connection that goes to rest or to work can't, since it is the hot path; it
//!     learns from its own read-modify-write on which side of the count it was (`Tally::look`), and so whether its work
//!     is in the record.
//!
//! # Locks
//!
//! `state` of a drain is locked before that of any drain below it; a lock of the `Registry` after both. `limit`,
//! `begun_with` and `hold` are locked last. No user code runs under any of them (S6): what ends under `state` is
//! handed out and dropped after it.

use std::{borrow::Cow, iter, mem, panic::Location, sync::OnceLock, time::Instant};

use slab::Slab;

#[cfg(any(feature = "net", all(test, any(loom, shuttle))))]
use crate::straggler::{Ticket, Work};
use crate::{
    Drained, Guard, Phase, Refused,
    latch::Latch,
    stamp::Stamp,
    straggler::{Registry, Stragglers},
    sync::{Arc, AtomicU8, Mutex, Ordering, Weak, lock},
    tally::{self, Seat, Tally},
};

pub(crate) struct Core {
    pub(crate) latch: Latch,
    pub(crate) tally: Tally,
    /// Set once, before the drain is handed out: the seats need the core, and the core its seats.
    pub(crate) shards: OnceLock<Arc<[Weak<Seat>]>>,
    /// When the present phase will be cut.
    limit: Mutex<Option<Limit>>,
    /// How many guards there were when draining began here, for the report, which may be begun later.
    begun_with: Mutex<Option<usize>>,
    /// E7 E8: locked while aborting begins.
    state: Mutex<State>,
    /// The phase to which all below has been moved.
    settled: AtomicU8,
    /// What makes the parent wait for us.
    hold: Mutex<Option<Hold>>,
    pub(crate) registry: Option<Registry>,
}

struct State {
    /// The first `Arc` of each shard. To begin is to drop them.
    kept: Vec<Arc<Seat>>,
    children: Slab<Weak<Core>>,
    /// The abandoned work, for the report: our own that was alive when aborting began here, our own that was lost at another
    /// time, and what children that have ended had here.
    abandoned: Option<Box<Stragglers>>,
    /// Set when we have ended and the parent has its copy of the record.
    ended: bool,
}

impl State {
    fn abandon(&mut self, work: Stragglers) {
        if work.total() > 0 {
            self.abandoned.get_or_insert_default().append(work);
        }
    }
}

/// How long draining, or aborting, may last.
#[derive(Clone, Copy)]
struct Limit {
    to: Phase,
    at: Instant,
}

impl Limit {
    /// Which of two holds, `self` or the `later` one to be set. Aborting has a limit of its own, which none to draining
    /// replaces; of two to draining the stricter wins.
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

/// A seat in the parent that is not work, and our place in its list of children.
struct Hold {
    parent: Arc<Seat>,
    key: usize,
}

impl Core {
    pub(crate) fn new(shards: usize, tracked: bool) -> Arc<Self> {
        let core = Arc::new(Self {
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
            }),
            settled: AtomicU8::new(Phase::Running as u8),
            hold: Mutex::new(None),
            registry: tracked.then(|| Registry::new(shards)),
        });
        let kept: Vec<_> = (0..shards).map(|_| Seat::shard(&core)).collect();
        let weak = kept.iter().map(Arc::downgrade).collect();
        // Just made, so it is empty.
        let _ = core.shards.set(weak);
        lock(&core.state).kept = kept;
        core
    }

    pub(crate) fn shards(&self) -> &Arc<[Weak<Seat>]> {
        self.shards.get().expect("`new` has set the shards")
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        lock(&self.limit).map(|limit| limit.at)
    }

    /// Moves this drain and all below it to `phase` (S1), cut at `deadline` if one is given; returns whether
    /// this call moved this drain. Whoever did, all below has moved when it returns.
    pub(crate) fn raise(&self, phase: Phase, deadline: Option<Instant>) -> bool {
        if phase >= Phase::Draining && !self.latch.is(Phase::Draining) {
            let in_flight = self.in_flight();
            lock(&self.begun_with).get_or_insert(in_flight);
        }
        self.raise_uncounted(phase, deadline)
    }

    /// [`raise`](Self::raise) where nobody is left who could ask for a report.
    pub(crate) fn raise_uncounted(&self, phase: Phase, deadline: Option<Instant>) -> bool {
        if phase == Phase::Aborting {
            return self.abort(deadline);
        }
        let limit = deadline.map(|at| Limit { to: phase, at });
        if let Some(limit) = limit {
            // S7: everywhere before anywhere, since who is told up here may ask down there.
            self.for_each(|core| core.publish(limit));
        }
        let moved = self.step(phase, limit);
        if limit.is_some() || !self.is_settled(phase) {
            // A list, not a recursion: children may be ten thousand deep.
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

    /// Moves this drain and all below it to aborting, and records the work that is alive (S8): whoever is told to abort
    /// can't be gone before it is counted.
    fn abort(&self, deadline: Option<Instant>) -> bool {
        let limit = deadline.map(|at| Limit {
            to: Phase::Aborting,
            at,
        });
        if let Some(limit) = limit {
            // S7: everywhere before anywhere, since who is told up here may ask down there.
            self.for_each(|core| core.publish(limit));
        }
        // E7: pairs with `created`.
        let begun = self.raise_uncounted(Phase::Draining, None);
        if limit.is_none() && self.is_settled(Phase::Aborting) {
            return begun;
        }
        // A child that comes later is born draining, and no guard can be had of it.
        let below = self.below();
        let all = || iter::once(self).chain(below.iter().map(|core| &**core));
        if let Some(limit) = limit {
            all().for_each(|core| core.publish(limit));
        }

        let mut ended = Vec::new();
        let before: Vec<_> = {
            // E7: held together, from the first look until all has moved.
            let mut states: Vec<_> = all().map(|core| lock(&core.state)).collect();
            let now = Stamp::now();
            let looks: Vec<_> = all()
                .map(|core| {
                    if core.latch.is(Phase::Aborting) {
                        Stragglers::none()
                    } else {
                        core.look(now, &mut ended)
                    }
                })
                .collect();
            let moved = all().zip(&mut states).zip(looks);
            moved
                .map(|((core, state), look)| {
                    let before = core.latch.advance(Phase::Aborting);
                    // One that has drained since was not aborted.
                    if before < Phase::Aborting {
                        state.abandon(look);
                    }
                    before
                })
                .collect()
        };
        for (core, &before) in all().zip(&before) {
            core.latch.wake(before, Phase::Aborting);
            if before < Phase::Draining {
                core.release();
            }
        }
        drop(ended);
        for core in &below {
            core.settle(Phase::Aborting);
        }
        self.settle(Phase::Aborting);
        // Where nothing was in flight, it drained as soon as it began.
        before[0] < Phase::Aborting || begun && before[0] == Phase::Drained
    }

    /// The guards that are alive here, exactly (E7 E8): `state` is locked, here and wherever else they may move.
    fn look(&self, now: Stamp, ended: &mut Vec<Seat>) -> Stragglers {
        let mut known = Vec::new();
        let mut kept = 0;
        if let Some(registry) = &self.registry {
            kept = registry.count_kept();
            registry.collect(now, &mut known);
        }
        let count = self.tally.look(self.shards(), kept, ended);
        Stragglers::new(count, known)
    }

    /// Takes a seat that was created just now, and returns it once it is counted if it has to be.
    #[inline]
    pub(crate) fn created(&self, seat: Arc<Seat>) -> Arc<Seat> {
        self.wait_for_look();
        seat
    }

    /// A seat for a guard that is not tracked, where `own` is the one in the calling thread's shard and that shard has
    /// ended or draining has begun. Out of line, and all that is left to do: the hot path is as short as it can be.
    #[cold]
    #[inline(never)]
    pub(crate) fn late_seat(&self, own: Option<Arc<Seat>>) -> Option<Arc<Seat>> {
        let seat = own.or_else(|| tally::late_seat(self.shards()));
        seat.map(|seat| self.created(seat))
    }

    /// Waits until an abort that is counting has counted.
    #[inline]
    fn wait_for_look(&self) {
        // E7: Relaxed, since what was done before has acquired the raise if it has to be seen.
        if self.latch.is_relaxed(Phase::Draining) {
            self.wait_for_state();
        }
    }

    #[cold]
    fn wait_for_state(&self) {
        drop(lock(&self.state));
    }

    /// Whether all below has been moved to `phase`: a line of drains that end one by one is not walked once for each.
    fn is_settled(&self, phase: Phase) -> bool {
        // E6: pairs with `settle`.
        self.settled.load(Ordering::Acquire) >= phase as u8
    }

    fn settle(&self, phase: Phase) {
        // E6: pairs with `is_settled`.
        self.settled.fetch_max(phase as u8, Ordering::Release);
    }

    fn step(&self, phase: Phase, limit: Option<Limit>) -> bool {
        // S7: published first, so that whoever sees the phase can read it.
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

    /// Gives up the kept `Arc`s: from here on a shard ends with its last guard.
    fn release(&self) {
        let mut ended = Vec::new();
        {
            let mut state = lock(&self.state);
            for seat in mem::take(&mut state.kept) {
                self.tally.forgo_hold();
                ended.extend(Seat::give_up(seat));
            }
            if let Some(registry) = &self.registry {
                registry.release(&self.tally, &mut ended);
            }
        }
        // What ends with them may wake waiters: not under our lock (S6).
        drop(ended);
    }

    /// A shard of `core` is empty for good. The last one ends the drain (L2), and with it perhaps the
    /// parent's last shard: a loop, not a recursion, for the same reason as in `raise`.
    pub(crate) fn shard_emptied(core: Arc<Self>) {
        let mut next = Some(core);
        while let Some(core) = next.take() {
            if !core.tally.last_shard() {
                return;
            }
            core.latch.raise(Phase::Drained);
            let Some(Hold { parent, key }) = lock(&core.hold).take() else {
                return;
            };
            // The seat's own drop would come back here one stack frame deeper.
            next = Self::forget_child(parent, key, &core).and_then(Seat::into_core);
        }
    }

    /// Ties `child`, a new drain that nobody knows yet, to this one; `false` if this one is drained.
    pub(crate) fn adopt(&self, child: &Arc<Self>) -> bool {
        {
            let mut state = lock(&self.state);
            let Some(seat) = tally::seat(self.shards()) else {
                return false;
            };
            self.tally.add_hold();
            *lock(&child.hold) = Some(Hold {
                parent: seat,
                key: state.children.vacant_key(),
            });
            state.children.insert(Arc::downgrade(child));
        }
        // Listed first, looked second: who moves us meanwhile either finds the child in the list or has moved us
        // before the lock was ours, and then we see it here.
        let phase = self.latch.phase();
        if phase > Phase::Running {
            let limit = *lock(&self.limit);
            child.step(phase.min(Phase::Aborting), limit);
        }
        true
    }

    /// A guard that was asked for at `place`, without a label.
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

    /// [`seat`](Self::seat) without a label, out of line so that its callers stay small.
    #[inline(never)]
    pub(crate) fn seat_at(&self, place: &'static Location<'static>) -> Option<Arc<Seat>> {
        self.seat(place, None)
    }

    /// A seat for a guard that was asked for at `place`; tracked, if guards are.
    pub(crate) fn seat(
        &self,
        place: &'static Location<'static>,
        label: Option<Cow<'static, str>>,
    ) -> Option<Arc<Seat>> {
        let shard = || tally::seat(self.shards());
        let seat = match &self.registry {
            Some(registry) => registry.enter(self, place, label, shard),
            None => shard(),
        };
        seat.map(|seat| self.created(seat))
    }

    /// Keeps this drain from being drained, for something that is not work itself but brings some: an accept loop.
    #[cfg(feature = "net")]
    pub(crate) fn hold(&self) -> Option<Held> {
        let _state = lock(&self.state);
        let seat = tally::seat(self.shards())?;
        self.tally.add_hold();
        Some(Held {
            seat: Some(seat),
            for_task: false,
        })
    }

    /// The same for a task of a server, of which there is one per request: it takes no lock while the drain runs. It
    /// is made when there is work, so it may be counted as work itself while it is made, but then it is not the only one; one
    /// that ends in the instant in which a running drain is aborted by hand may be.
    #[cfg(feature = "hyper")]
    pub(crate) fn hold_for_task(&self) -> Option<Held> {
        let seat = tally::seat(self.shards())?;
        self.tally.add_hold();
        Some(Held {
            seat: Some(seat),
            for_task: true,
        })
    }

    /// Drops `seat`, which is held and no work. It ends outside the lock.
    #[cfg(any(feature = "net", all(test, any(loom, shuttle))))]
    pub(crate) fn give_up_hold(seat: Arc<Seat>) {
        let core = Arc::clone(seat.core());
        let ended = {
            let _state = lock(&core.state);
            core.tally.forgo_hold();
            Seat::give_up(seat)
        };
        drop(ended);
    }

    /// `child` has ended, whose place is `key` and whose hold is `seat`. Returns what ends with it.
    fn forget_child(seat: Arc<Seat>, key: usize, child: &Self) -> Option<Seat> {
        // The seat is dropped while its core's lock is held.
        let parent = Arc::clone(seat.core());
        let (place, ended) = {
            let mut state = lock(&parent.state);
            {
                let mut below = lock(&child.state);
                below.ended = true;
                // While we run, a child that ends is its own report's business, and records would pile up.
                if parent.latch.is(Phase::LameDuck) {
                    if let Some(abandoned) = &below.abandoned {
                        state.abandon(abandoned.as_ref().clone());
                    }
                }
            }
            let place = state.children.try_remove(key);
            parent.tally.forgo_hold();
            (place, Seat::give_up(seat))
        };
        drop(place);
        ended
    }

    fn children(&self) -> Vec<Arc<Core>> {
        lock(&self.state)
            .children
            .iter()
            .filter_map(|(_, child)| child.upgrade())
            .collect()
    }

    /// All below, parents before their children.
    fn below(&self) -> Vec<Arc<Core>> {
        // A list, not a recursion: children may be ten thousand deep.
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
    pub(crate) fn for_each(&self, mut each: impl FnMut(&Core)) {
        each(self);
        let mut below = self.children();
        while let Some(child) = below.pop() {
            each(&child);
            below.extend(child.children());
        }
    }

    /// The guards that were alive here and below when draining began, or that are now if it began above.
    pub(crate) fn begun_with(&self) -> usize {
        let recorded = *lock(&self.begun_with);
        recorded.unwrap_or_else(|| self.in_flight())
    }

    /// Records work as abandoned (S8); what it is called is in `ticket`. Where aborting has begun, and the work was alive
    /// then, it has been recorded: that of a connection is asked, other work was alive.
    #[cfg(any(feature = "net", all(test, any(loom, shuttle))))]
    pub(crate) fn abandon(&self, work: Option<&Work>, ticket: Option<&Ticket>) {
        let mut state = lock(&self.state);
        // E8: aborting is raised under the lock, once the work is counted.
        if !self.latch.is(Phase::Aborting) || work.is_some_and(Work::is_uncounted) {
            let known = ticket.and_then(Ticket::straggler);
            state.abandon(Stragglers::new(1, known.into_iter().collect()));
        }
        // E8: under the lock, so that it is not counted as well when aborting begins.
        if work.is_some_and(Work::abandon) {
            self.tally.add_hold();
        }
    }

    /// The work of a connection is done, until it resumes.
    #[cfg(any(feature = "net", all(test, any(loom, shuttle))))]
    #[inline]
    pub(crate) fn rest(&self, work: &Work) {
        work.set_on(false);
        // E8: what rests before aborting begins is not in that record.
        if !self.tally.add_hold() {
            work.set_uncounted(true);
        }
    }

    /// The work of a connection begins again.
    #[cfg(any(feature = "net", all(test, any(loom, shuttle))))]
    pub(crate) fn resume(&self, work: &Work) {
        // E8: what works again while it is counted is in the record, and what it did before may be as well.
        work.set_uncounted(self.tally.forgo_hold());
        self.wait_for_look();
    }

    /// The work of this drain and of all below it that was abandoned, oldest first.
    pub(crate) fn abandoned(&self) -> Stragglers {
        let below = self.below();
        let mut all = Stragglers::none();
        // Held together: a child that ends hands its record on to its parent.
        let own = lock(&self.state);
        let states: Vec<_> = below.iter().map(|core| lock(&core.state)).collect();
        let records = iter::once(&own).chain(states.iter().filter(|state| !state.ended));
        for record in records.filter_map(|state| state.abandoned.as_deref()) {
            all.append(record.clone());
        }
        drop(states);
        drop(own);
        all.sort();
        all
    }

    /// The guards alive here and below.
    pub(crate) fn in_flight(&self) -> usize {
        let mut sum = 0;
        self.for_each(|core| {
            // The kept seats first: when draining begins meanwhile, their guards are counted twice rather than not at all.
            let kept = core.registry.as_ref().map_or(0, Registry::count_kept);
            sum += core.tally.count(core.shards(), kept);
        });
        sum
    }
}

/// Keeps a drain from being drained without counting as in flight.
#[cfg(feature = "net")]
pub(crate) struct Held {
    /// `None` once it is being dropped.
    seat: Option<Arc<Seat>>,
    for_task: bool,
}

#[cfg(feature = "hyper")]
impl Held {
    pub(crate) fn core(&self) -> &Core {
        let seat = self.seat.as_ref();
        seat.unwrap_or_else(|| unreachable!("only `drop` takes it"))
            .core()
    }
}

#[cfg(feature = "net")]
impl Drop for Held {
    fn drop(&mut self) {
        let Some(seat) = self.seat.take() else {
            return;
        };
        if self.for_task && !seat.core().latch.is(Phase::Draining) {
            seat.core().tally.forgo_hold();
        } else {
            Core::give_up_hold(seat);
        }
    }
}

#[cfg(all(test, feature = "net", not(any(loom, shuttle))))]
mod tests {
    use crate::{Drain, Phase};

    /// What is held open is waited for and is nobody's work.
    #[test]
    fn a_hold_keeps_the_drain_and_counts_for_nothing() {
        let drain = Drain::new();
        let held = drain.core().hold();
        assert_eq!(drain.in_flight(), 0);
        let work = drain.guard().unwrap();
        drop(drain.core().hold());
        assert_eq!(drain.in_flight(), 1);
        drop(work);
        drain.begin();
        assert_eq!((drain.phase(), drain.in_flight()), (Phase::Draining, 0));
        drop(held);
        assert_eq!(drain.phase(), Phase::Drained);
    }
}
