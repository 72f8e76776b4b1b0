//! The latch: a level that only rises, and everyone who waits for it to reach a phase (S1 S6 L1 C3 C4 C5).
//!
//! Each phase after [`Phase::Running`] is a one-way flag; together they are one byte, since a later phase
//! implies the earlier ones. Any number of tasks and threads may wait for each.
//!
//! # Orderings
//!
//! E1. All that was done before `raise` is visible to whoever sees the phase it raised to. The byte is raised
//!     with `Release` and read with `Acquire`; every later raise is a read-modify-write and so carries on the
//!     release sequence of the earlier ones.
//! E2. Nobody sleeps through a raise. `raise` moves the byte first and empties the list of waiters under its lock
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
    sync::{AtomicU8, CachePadded, Mutex, Ordering, lock},
};

pub(crate) struct Latch {
    /// Alone on its lines: it is read on every request and written a few times in the life of a process (C3).
    level: CachePadded<AtomicU8>,
    waiting: [Mutex<Slab<Waker>>; Phase::AWAITED],
}

/// One waiter's place in the latch; [`Latch::leave`] gives it back.
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
    fn new(slot: usize, waker: &Waker) -> Self {
        Self {
            slot,
            data: waker.data().addr(),
            vtable: std::ptr::from_ref(waker.vtable()).addr(),
        }
    }

    fn holds(&self, waker: &Waker) -> bool {
        self.data == waker.data().addr() && self.vtable == std::ptr::from_ref(waker.vtable()).addr()
    }
}

impl Latch {
    pub(crate) fn new() -> Self {
        Self {
            level: CachePadded(AtomicU8::new(Phase::Running as u8)),
            waiting: std::array::from_fn(|_| Mutex::new(Slab::new())),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        // E1: pairs with `raise`.
        Phase::from_u8(self.level.load(Ordering::Acquire))
    }

    pub(crate) fn is(&self, phase: Phase) -> bool {
        // E1: pairs with `raise`.
        self.level.load(Ordering::Acquire) >= phase as u8
    }

    /// Raises the level to `phase` unless it is there, wakes everyone who waited for it or for a phase that it
    /// skips, and returns the phase before.
    pub(crate) fn raise(&self, phase: Phase) -> Phase {
        // E1: `Release` for what the caller did before, `Acquire` for what an earlier raise published, so
        // that a waker run from here may rely on both. It need not be stronger: E2 is the locks' work.
        let before = self.level.fetch_max(phase as u8, Ordering::AcqRel);
        for passed in before..phase as u8 {
            // E2: pairs with the second look in `poll`.
            let woken = mem::take(&mut *lock(&self.waiting[usize::from(passed)]));
            wake_all(woken);
        }
        Phase::from_u8(before)
    }

    pub(crate) fn poll(&self, phase: Phase, waiter: &mut Waiter, cx: &mut Context<'_>) -> Poll<()> {
        if self.is(phase) {
            return Poll::Ready(());
        }
        if let Some(place) = &waiter.place {
            if place.holds(cx.waker()) {
                return Poll::Pending;
            }
        }
        // Cloning and dropping a waker are user code: both outside of the lock (S6).
        let waker = cx.waker().clone();
        let replaced = {
            let mut waiting = lock(self.waiting_for(phase));
            // E2: pairs with `raise`.
            if self.is(phase) {
                drop(waiting);
                return Poll::Ready(());
            }
            match &mut waiter.place {
                Some(place) => {
                    *place = Place::new(place.slot, &waker);
                    Some(mem::replace(&mut waiting[place.slot], waker))
                }
                None => {
                    waiter.place = Some(Place::new(waiting.vacant_key(), &waker));
                    waiting.insert(waker);
                    None
                }
            }
        };
        drop(replaced);
        Poll::Pending
    }

    /// Takes `waiter` off the list. It costs nothing when the phase has been reached.
    pub(crate) fn leave(&self, phase: Phase, waiter: &mut Waiter) {
        let Some(place) = waiter.place.take() else {
            return;
        };
        let removed = {
            let mut waiting = lock(self.waiting_for(phase));
            // E2: once raised, the list has been emptied, or the one who raised is about to.
            if self.is(phase) {
                None
            } else {
                waiting.try_remove(place.slot)
            }
        };
        drop(removed);
    }

    fn waiting_for(&self, phase: Phase) -> &Mutex<Slab<Waker>> {
        &self.waiting[phase as usize - 1]
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

#[cfg(all(test, not(loom)))]
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
        let (latch, mut waiter) = (Latch::new(), Waiter::default());
        // A clone, because the vtable of the first waker may be at another address than that of all its clones.
        let waker = Waker::from(Arc::new(Task)).clone();
        let mut cx = Context::from_waker(&waker);
        assert!(
            latch
                .poll(Phase::Draining, &mut waiter, &mut cx)
                .is_pending()
        );
        let held = lock(latch.waiting_for(Phase::Draining));
        assert!(
            latch
                .poll(Phase::Draining, &mut waiter, &mut cx)
                .is_pending()
        );
        drop(held);
    }
}
