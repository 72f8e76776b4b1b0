//! What a drain, its guards and those who wait for it share: the phase, the count, and the tree of children.
//!
//! # Orderings
//!
//! E6. Whoever finds a drain settled at a phase sees all below it moved to that phase: `settled` is raised with
//!     `Release` once the walk is done, and read with `Acquire`. Children that come later move themselves (`adopt`).

use std::{borrow::Cow, mem, panic::Location, sync::OnceLock, time::Instant};

use slab::Slab;

use crate::{
    Phase,
    latch::Latch,
    straggler::{Registry, Straggler, Stragglers},
    sync::{Arc, AtomicU8, Mutex, Ordering, Weak, lock},
    tally::{self, Seat, Tally},
};

pub(crate) struct Core {
    pub(crate) latch: Latch,
    pub(crate) tally: Tally,
    /// Set once, before the drain is handed out: the seats need the core, and the core its seats.
    pub(crate) shards: OnceLock<Arc<[Weak<Seat>]>>,
    /// The first `Arc` of each shard. To begin is to drop them.
    kept: Mutex<Vec<Arc<Seat>>>,
    /// When the present phase will be cut.
    limit: Mutex<Option<Limit>>,
    /// How many guards there were when draining began here, for the report, which may be begun later.
    begun_with: Mutex<Option<usize>>,
    children: Mutex<Slab<Weak<Core>>>,
    /// The phase to which all below has been moved.
    settled: AtomicU8,
    /// What makes the parent wait for us.
    hold: Mutex<Option<Hold>>,
    pub(crate) registry: Option<Registry>,
    /// Work that a server lost before aborting began.
    abandoned: Mutex<Option<Box<Stragglers>>>,
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
            kept: Mutex::new(Vec::new()),
            limit: Mutex::new(None),
            begun_with: Mutex::new(None),
            children: Mutex::new(Slab::new()),
            settled: AtomicU8::new(Phase::Running as u8),
            hold: Mutex::new(None),
            registry: tracked.then(|| Registry::new(shards)),
            abandoned: Mutex::new(None),
        });
        let kept: Vec<_> = (0..shards).map(|_| Seat::shard(&core)).collect();
        let weak = kept.iter().map(Arc::downgrade).collect();
        // Just made, so it is empty.
        let _ = core.shards.set(weak);
        *lock(&core.kept) = kept;
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
        let kept = mem::take(&mut *lock(&self.kept));
        for seat in kept {
            self.tally.forgo_hold();
            drop(seat);
        }
        if let Some(registry) = &self.registry {
            registry.release(&self.tally);
        }
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
            parent.core().forget_child(key);
            // The seat's own drop would come back here one stack frame deeper.
            next = Arc::into_inner(parent).and_then(Seat::into_core);
        }
    }

    /// Ties `child`, a new drain that nobody knows yet, to this one by `seat`, a seat of ours.
    pub(crate) fn adopt(&self, child: &Arc<Self>, seat: Arc<Seat>) {
        self.tally.add_hold();
        {
            let mut children = lock(&self.children);
            *lock(&child.hold) = Some(Hold {
                parent: seat,
                key: children.vacant_key(),
            });
            children.insert(Arc::downgrade(child));
        }
        // Listed first, looked second: who moves us meanwhile either finds the child in the list or has moved us
        // before the lock was ours, and then we see it here.
        let phase = self.latch.phase();
        if phase > Phase::Running {
            let limit = *lock(&self.limit);
            child.step(phase.min(Phase::Aborting), limit);
        }
    }

    /// A seat for a guard that was asked for at `place`; tracked, if guards are.
    pub(crate) fn seat(
        &self,
        place: &'static Location<'static>,
        label: Option<Cow<'static, str>>,
    ) -> Option<Arc<Seat>> {
        let shard = || tally::seat(self.shards());
        match &self.registry {
            Some(registry) => registry.enter(self, place, label, shard),
            None => shard(),
        }
    }

    /// Keeps this drain from being drained, for something that is not work itself but brings some: an accept loop.
    #[cfg(feature = "net")]
    pub(crate) fn hold(&self) -> Option<Held> {
        let seat = tally::seat(self.shards())?;
        self.tally.add_hold();
        Some(Held(seat))
    }

    fn forget_child(&self, key: usize) {
        let child = lock(&self.children).try_remove(key);
        self.tally.forgo_hold();
        drop(child);
    }

    fn children(&self) -> Vec<Arc<Core>> {
        lock(&self.children)
            .iter()
            .filter_map(|(_, child)| child.upgrade())
            .collect()
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

    #[cfg(feature = "net")]
    pub(crate) fn abandon(&self, known: Option<Straggler>) {
        (lock(&self.abandoned).get_or_insert_default()).add(known);
    }

    /// The work of this drain and all below it that was lost before aborting began.
    pub(crate) fn abandoned(&self) -> Stragglers {
        let mut all = Stragglers::none();
        self.for_each(|core| {
            if let Some(abandoned) = lock(&core.abandoned).clone() {
                all.append(*abandoned);
            }
        });
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
pub(crate) struct Held(Arc<Seat>);

#[cfg(feature = "hyper")]
impl Held {
    pub(crate) fn core(&self) -> &Core {
        self.0.core()
    }
}

#[cfg(feature = "net")]
impl Drop for Held {
    fn drop(&mut self) {
        self.0.core().tally.forgo_hold();
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
