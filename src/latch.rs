//! The latch: a level that only rises, and everyone who waits for it to reach a phase (S1 S6 L1 C3 C4 C5).
//!
//! Each phase after [`Phase::Running`] is a one-way flag; together they are one byte, since a later phase
//! implies the earlier ones. Any number of tasks and threads may wait for each. They are listed at a few desks, one per
//! core, so that those who wait on one core write nothing that another core writes (C4).
//!
//! # Orderings
//!
//! E1. All that was done before `raise` is visible to whoever sees the phase it raised to. The byte is raised
//!     with `Release` and read with `Acquire`; every later raise is a read-modify-write and so carries on the
//!     release sequence of the earlier ones.
//! E2. Nobody sleeps through a raise. `raise` moves the byte first and empties each list of waiters under its lock
//!     afterwards; `poll` looks at the byte again under the same lock before it lists itself. Whichever
//!     locks second sees the other, because one unlock happens before the next lock.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll, Waker},
};

use slab::Slab;

use crate::{
    Phase,
    sync::{Arc, AtomicU8, CachePadded, Mutex, Ordering, lock},
    tally,
};

pub(crate) struct Latch {
    level: Arc<Level>,
    desks: Box<[Arc<Desk>]>,
}

/// Alone on its lines: it is read on every request and written a few times in the life of a process (C3).
pub(crate) struct Level(CachePadded<AtomicU8>);

impl Level {
    #[inline]
    fn phase(&self) -> Phase {
        // E1: pairs with `raise`.
        Phase::from_u8(self.0.load(Ordering::Acquire))
    }

    #[inline]
    fn reached(&self, phase: Phase) -> bool {
        // E1: pairs with `raise`.
        self.0.load(Ordering::Acquire) >= phase as u8
    }

    /// [`reached`](Self::reached) for a caller that has acquired the raise by other means, if it must see it.
    #[inline]
    pub(crate) fn is_relaxed(&self, phase: Phase) -> bool {
        self.0.load(Ordering::Relaxed) >= phase as u8
    }
}

/// Where those who wait on one core are listed; a waiter keeps its desk, and with it the level.
///
/// Alone on its lines too, its count of owners included.
pub(crate) struct Desk(CachePadded<Lists>);

struct Lists {
    level: Arc<Level>,
    waiting: [Mutex<Slab<Waker>>; Phase::AWAITED],
}

/// One waiter's place at its desk; [`Desk::leave`] gives it back.
#[derive(Default)]
pub(crate) struct Waiter {
    place: Option<Place>,
}

/// The slot, and whose waker is in it: enough to tell on a re-poll, without the lock, that nothing changed (C4).
/// The waker in the slot is a clone, so that its data can't be freed and its address be another's meanwhile.
struct Place {
    slot: usize,
    data: usize,
    vtable: usize,
}

impl Place {
    #[inline]
    fn new(slot: usize, waker: &Waker) -> Self {
        Self {
            slot,
            data: waker.data().addr(),
            vtable: std::ptr::from_ref(waker.vtable()).addr(),
        }
    }

    #[inline]
    fn holds(&self, waker: &Waker) -> bool {
        self.data == waker.data().addr() && self.vtable == std::ptr::from_ref(waker.vtable()).addr()
    }
}

impl Latch {
    pub(crate) fn new(desks: usize) -> Self {
        let level = Arc::new(Level(CachePadded(AtomicU8::new(Phase::Running as u8))));
        Self {
            desks: (0..desks).map(|_| Arc::new(Desk::new(&level))).collect(),
            level,
        }
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        self.level.phase()
    }

    #[inline]
    pub(crate) fn is(&self, phase: Phase) -> bool {
        self.level.reached(phase)
    }

    /// The calling thread's desk.
    #[inline]
    pub(crate) fn desk(&self) -> &Arc<Desk> {
        &self.desks[tally::slot() & (self.desks.len() - 1)]
    }

    /// [`is`](Self::is) for one who has acquired the raise by other means, if it must be seen.
    #[inline]
    pub(crate) fn is_relaxed(&self, phase: Phase) -> bool {
        self.level.is_relaxed(phase)
    }

    pub(crate) fn level(&self) -> &Arc<Level> {
        &self.level
    }

    /// Raises the level to `phase` unless it is there, wakes everyone who waited for it or for a phase that it
    /// skips, and returns the phase before.
    pub(crate) fn raise(&self, phase: Phase) -> Phase {
        let before = self.advance(phase);
        self.wake(before, phase);
        before
    }

    /// The first half of [`raise`](Self::raise), for one who holds a lock. The second, `wake`, must follow.
    pub(crate) fn advance(&self, phase: Phase) -> Phase {
        // E1: `Release` for what the caller did before, `Acquire` for what an earlier raise published, so
        // that a waker run from here may rely on both. It need not be stronger: E2 is the locks' work.
        Phase::from_u8(self.level.0.fetch_max(phase as u8, Ordering::AcqRel))
    }

    /// Wakes those who wait for a phase after `before`, up to `phase`.
    pub(crate) fn wake(&self, before: Phase, phase: Phase) {
        for passed in before as u8..phase as u8 {
            for desk in &self.desks {
                // E2: pairs with the second look in `list`.
                let woken = mem::take(&mut *lock(&desk.0.waiting[usize::from(passed)]));
                wake_all(woken);
            }
        }
    }
}

impl Desk {
    fn new(level: &Arc<Level>) -> Self {
        Self(CachePadded(Lists {
            level: Arc::clone(level),
            waiting: std::array::from_fn(|_| Mutex::new(Slab::new())),
        }))
    }

    pub(crate) fn phase(&self) -> Phase {
        self.0.level.phase()
    }

    #[inline]
    pub(crate) fn poll(&self, phase: Phase, waiter: &mut Waiter, cx: &mut Context<'_>) -> Poll<()> {
        if self.0.level.reached(phase) {
            return Poll::Ready(());
        }
        match &waiter.place {
            Some(place) if place.holds(cx.waker()) => Poll::Pending,
            _ => self.list(phase, waiter, cx.waker()),
        }
    }

    /// Puts the waker into the list, or into the place of the one that the waiter was polled with before.
    fn list(&self, phase: Phase, waiter: &mut Waiter, waker: &Waker) -> Poll<()> {
        // Cloning and dropping a waker are user code: both outside of the lock (S6).
        let waker = waker.clone();
        let replaced = {
            let mut waiting = lock(self.waiting_for(phase));
            // E2: pairs with `raise`.
            if self.0.level.reached(phase) {
                drop(waiting);
                return Poll::Ready(());
            }
            if let Some(place) = &mut waiter.place {
                *place = Place::new(place.slot, &waker);
                Some(mem::replace(&mut waiting[place.slot], waker))
            } else {
                let vacant = waiting.vacant_entry();
                waiter.place = Some(Place::new(vacant.key(), &waker));
                vacant.insert(waker);
                None
            }
        };
        drop(replaced);
        Poll::Pending
    }

    /// Takes `waiter` off the list. It costs nothing when the phase has been reached.
    #[inline]
    pub(crate) fn leave(&self, phase: Phase, waiter: &mut Waiter) {
        if let Some(place) = waiter.place.take() {
            drop(self.remove(phase, &place));
        }
    }

    fn remove(&self, phase: Phase, place: &Place) -> Option<Waker> {
        let mut waiting = lock(self.waiting_for(phase));
        // E2: once raised, the list has been emptied, or the one who raised is about to.
        if self.0.level.reached(phase) {
            return None;
        }
        waiting.try_remove(place.slot)
    }

    fn waiting_for(&self, phase: Phase) -> &Mutex<Slab<Waker>> {
        &self.0.waiting[phase as usize - 1]
    }
}

/// Wakes everyone; a waker that panics keeps no other from being woken (S6), and its panic stays here, because the
/// caller may be a guard's drop in the middle of an unwind.
fn wake_all(wakers: Slab<Waker>) {
    for (_, waker) in wakers {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            // Its drop is user code too, and may panic again.
            mem::forget(payload);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::sync::Arc;

    use super::{Context, Latch, Phase, Waiter, Waker, lock};

    struct Task;

    impl std::task::Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    /// C4: a re-poll by the same task takes no lock; it would wait for ever for this one.
    #[test]
    fn a_repoll_takes_no_lock() {
        let (latch, mut waiter) = (Latch::new(1), Waiter::default());
        // A clone, because the vtable of the first waker may be at another address than that of all its clones.
        let waker = Waker::from(Arc::new(Task)).clone();
        let mut cx = Context::from_waker(&waker);
        assert!(
            latch
                .desk()
                .poll(Phase::Draining, &mut waiter, &mut cx)
                .is_pending()
        );
        let held = lock(latch.desk().waiting_for(Phase::Draining));
        assert!(
            latch
                .desk()
                .poll(Phase::Draining, &mut waiter, &mut cx)
                .is_pending()
        );
        drop(held);
    }
}
