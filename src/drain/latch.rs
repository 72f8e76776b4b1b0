//! The latch: a level that only rises, and all that waits for it to reach a phase (S1 S6 L1 C3 C4
//! C5).
//!
//! Each phase after [`Phase::Running`] is a one-way flag; together they are one byte, since a later
//! phase implies the earlier ones. Any number of tasks and threads may wait for each. They register
//! in a few wait lists, one per core, so that tasks that wait on one core write to no cache line
//! that another core writes (C4). A child has one, which its first wait creates.
//!
//! event-listener would be a natural candidate for this. It wakes tasks while it holds the lock of
//! its list (5.4.2, `src/intrusive.rs`, lines 225 and 377), which S6 forbids.
//!
//! # Orderings
//!
//! E1. All that was done before a raise is visible to code that sees the phase it raised to. The
//!     byte is raised with `Release` and read with `Acquire`; every later raise is a
//!     read-modify-write and so carries on the release sequence of the earlier ones.
//! E2. No waiter sleeps through a raise. A raise moves the byte first, and then looks for the wait
//!     lists and empties each, both under locks; `poll` looks at the byte again under the lock of
//!     its list before it registers. The thread that locks second sees the other's step, because
//!     one unlock happens before the next lock.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc as StdArc,
    task::{Context, Poll, Waker},
};

use slab::Slab;

use crate::drain::{
    node::Node,
    phase::Phase,
    sync::{AtomicU8, Mutex, Ordering, lock},
};

/// The phase. It is read on every request and written a few times in the life of a process (C3).
pub(crate) struct Latch(AtomicU8);

impl Latch {
    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(Phase::Running as u8))
    }

    #[inline]
    pub(crate) fn phase(&self) -> Phase {
        // E1: pairs with `advance`.
        Phase::from_u8(self.0.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn is(&self, phase: Phase) -> bool {
        // E1: pairs with `advance`.
        self.0.load(Ordering::Acquire) >= phase as u8
    }

    /// Like [`is`](Self::is), without ordering: a caller that must see a raise has acquired it
    /// already.
    #[inline]
    pub(crate) fn is_relaxed(&self, phase: Phase) -> bool {
        self.0.load(Ordering::Relaxed) >= phase as u8
    }

    /// Raises the level to `phase` unless it is there, and returns the phase before. The caller
    /// then wakes the wait lists, by [`WaitList::wake`].
    pub(crate) fn advance(&self, phase: Phase) -> Phase {
        // E1: `Release` for what the caller did before, `Acquire` for what an earlier raise
        // published, so that a waker that is run from here may rely on both. It need not be
        // stronger: the locks see to E2.
        Phase::from_u8(self.0.fetch_max(phase as u8, Ordering::AcqRel))
    }
}

/// The wakers of the tasks that wait on one core. A waiter keeps its list, and with it the node.
// Models don't see the count of its `Arc`, as with the node.
pub(crate) struct WaitList {
    node: StdArc<Node>,
    /// For each phase after the first, the wakers of the tasks that wait for it.
    wakers: Mutex<[Slab<Waker>; Phase::AWAITED]>,
}

/// One waiter's registration in its list; [`WaitList::leave`] ends it.
#[derive(Default)]
pub(crate) struct Waiter {
    /// Set by the first poll that found the phase not reached.
    registered: Option<Registered>,
}

/// The slot, and which waker is in it: enough to tell on a re-poll, without the lock, that nothing
/// has changed (C4). The waker in the slot is a clone, so its data can't be freed and its address
/// can't become another waker's while it is there.
struct Registered {
    slot: usize,
    data: usize,
    vtable: usize,
}

impl Registered {
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

impl WaitList {
    pub(crate) fn new(node: &StdArc<Node>) -> Self {
        Self {
            node: StdArc::clone(node),
            wakers: Mutex::new([const { Slab::new() }; Phase::AWAITED]),
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.node.latch.phase()
    }

    #[inline]
    pub(crate) fn reached(&self, phase: Phase) -> bool {
        self.node.latch.is(phase)
    }

    #[inline]
    pub(crate) fn poll(&self, phase: Phase, waiter: &mut Waiter, cx: &mut Context<'_>) -> Poll<()> {
        if self.reached(phase) {
            return Poll::Ready(());
        }
        match &waiter.registered {
            Some(registered) if registered.holds(cx.waker()) => Poll::Pending,
            _ => self.register(phase, waiter, cx.waker()),
        }
    }

    /// Puts the waker into the list, or into the slot of the waker that the waiter was polled with
    /// before.
    fn register(&self, phase: Phase, waiter: &mut Waiter, waker: &Waker) -> Poll<()> {
        // Cloning and dropping a waker are user code: both outside the lock (S6).
        let waker = waker.clone();
        let replaced = {
            let mut wakers = lock(&self.wakers);
            // E2: pairs with `wake`.
            if self.reached(phase) {
                drop(wakers);
                return Poll::Ready(());
            }
            let wakers = &mut wakers[place(phase)];
            if let Some(registered) = &mut waiter.registered {
                *registered = Registered::new(registered.slot, &waker);
                Some(mem::replace(&mut wakers[registered.slot], waker))
            } else {
                waiter.registered = Some(Registered::new(wakers.vacant_key(), &waker));
                wakers.insert(waker);
                None
            }
        };
        drop(replaced);
        Poll::Pending
    }

    /// Takes `waiter` off the list. If the phase has been reached, this does nothing.
    #[inline]
    pub(crate) fn leave(&self, phase: Phase, waiter: &mut Waiter) {
        if let Some(registered) = waiter.registered.take() {
            drop(self.remove(phase, &registered));
        }
    }

    fn remove(&self, phase: Phase, registered: &Registered) -> Option<Waker> {
        let mut wakers = lock(&self.wakers);
        // E2: once raised, the list has been emptied, or the raising thread is about to.
        if self.reached(phase) {
            return None;
        }
        wakers[place(phase)].try_remove(registered.slot)
    }

    /// Wakes all that waits here for a phase after `before`, up to `phase`, to which the level has
    /// been raised.
    pub(crate) fn wake(&self, before: Phase, phase: Phase) {
        let mut woken = [const { Slab::new() }; Phase::AWAITED];
        {
            // E2: pairs with the second look in `register`.
            let mut wakers = lock(&self.wakers);
            for passed in before as usize..phase as usize {
                woken[passed] = mem::take(&mut wakers[passed]);
            }
        }
        woken.into_iter().for_each(wake_all);
    }
}

/// Returns the index of the wakers that wait for `phase`.
#[inline]
fn place(phase: Phase) -> usize {
    phase as usize - 1
}

fn wake_all(wakers: Slab<Waker>) {
    wake_each(wakers.into_iter().map(|(_, waker)| waker));
}

/// Wakes all of them. A waker that panics keeps no other from being woken (S6), and its panic stays
/// here, because the caller may be a guard's drop in the middle of an unwind.
pub(crate) fn wake_each(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| waker.wake())) {
            // Its drop is user code too, and may panic again.
            mem::forget(payload);
        }
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::{
        sync::Arc,
        task::{Context, Waker},
    };

    use super::{Phase, Waiter, lock};
    use crate::{Drain, drain::node::Node};

    struct Task;

    impl std::task::Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    /// C4: a re-poll by the same task takes no lock; it would wait for ever for this one.
    #[test]
    fn a_repoll_takes_no_lock() {
        let (drain, mut waiter) = (Drain::new(), Waiter::default());
        let list = Node::wait_list(drain.node()).unwrap();
        // A clone, because the vtable of the first waker may be at another address than that of all
        // its clones.
        let waker = Waker::from(Arc::new(Task)).clone();
        let mut cx = Context::from_waker(&waker);
        assert!(
            list.poll(Phase::Draining, &mut waiter, &mut cx)
                .is_pending()
        );
        let held = lock(&list.wakers);
        assert!(
            list.poll(Phase::Draining, &mut waiter, &mut cx)
                .is_pending()
        );
        drop(held);
    }
}
