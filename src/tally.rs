//! How guards are counted: a guard is an `Arc`, to begin is to drop the first one, drained is its `Drop` (S2 S3 S5
//! C1 C2).
//!
//! A drain has a few shards, each an `Arc<Seat>` of which the core keeps the first until draining begins. A
//! guard is one more `Arc` of the shard of the thread that asked for it. A shard that has ended can't
//! be had again, because `Weak::upgrade` fails for ever, so the last shard to end ends the drain, once.
//! No sum of live counters is ever tested for zero.
//!
//! # Orderings
//!
//! E3. All that a task did before its guard dropped is visible to whoever sees drained (S5). Within a shard that is
//!     `Arc`'s promise to its last owner, who runs `Seat::drop`; across shards it is `Tally::last_shard`, a
//!     read-modify-write that each shard's last owner releases and the very last one acquires. From
//!     there E1 of the latch carries it on.
//! E4. The same is visible to whoever is refused, and so is the beginning of the drain (S4 S5). Every owner of a shard
//!     releases its count, the beginner after the raise; who has found each count at zero acquires them by a
//!     fence, since `Weak::upgrade` acquires only where it succeeds.
//! E5. `count` is never too low for a child or a kept `Arc` that comes or goes meanwhile: a hold that it knows of is
//!     one that it finds among the seats, or one that it finds given up. `look` is exact; see E7 and E8 of the tree.

use std::cell::Cell;

use crate::{
    straggler::Ticket,
    sync::{Arc, AtomicUsize, CachePadded, Ordering, Weak, fence},
    tree::Core,
};

/// What a guard points to: a shard of its drain or, where guards are tracked, an entry of its own.
///
/// Aligned so that the counts in front of it share a line with nothing (C1).
pub(crate) struct Seat(CachePadded<Kind>);

enum Kind {
    Shard(Arc<Core>),
    Tracked(Ticket),
    /// A shard whose core was taken out so that it can be ended without recursion.
    Ended,
}

impl Seat {
    pub(crate) fn shard(core: &Arc<Core>) -> Arc<Self> {
        Arc::new(Self(CachePadded(Kind::Shard(Arc::clone(core)))))
    }

    pub(crate) fn tracked(ticket: Ticket) -> Arc<Self> {
        Arc::new(Self(CachePadded(Kind::Tracked(ticket))))
    }

    #[inline]
    pub(crate) fn ticket(&self) -> Option<&Ticket> {
        match &self.0.0 {
            Kind::Tracked(ticket) => Some(ticket),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn core(&self) -> &Arc<Core> {
        match &self.0.0 {
            Kind::Shard(core) => core,
            Kind::Tracked(ticket) => ticket.shard().core(),
            Kind::Ended => unreachable!("only an owned seat can be ended"),
        }
    }

    /// Drops an owner without ending anything: what has ended is the caller's to drop, or to end.
    pub(crate) fn give_up(seat: Arc<Self>) -> Option<Self> {
        let mut last = Arc::into_inner(seat)?;
        match std::mem::replace(&mut last.0.0, Kind::Ended) {
            Kind::Tracked(ticket) => Self::give_up(ticket.into_shard()),
            shard => Some(Self(CachePadded(shard))),
        }
    }

    /// The core of a shard that has no owner but the caller; the caller ends it.
    pub(crate) fn into_core(mut self) -> Option<Arc<Core>> {
        match std::mem::replace(&mut self.0.0, Kind::Ended) {
            Kind::Shard(core) => Some(core),
            _ => None,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Kind::Shard(core) = std::mem::replace(&mut self.0.0, Kind::Ended) {
            Core::shard_emptied(core);
        }
    }
}

/// How many shards have not ended, and how many of their `Arc`s are no work.
pub(crate) struct Tally {
    live: AtomicUsize,
    /// How many `Arc`s ever were no work, the kept first ones and the seats of children, and how many of them have been
    /// given up. Both only rise, so that `count` can read the one before it looks and the other after. Each is
    /// in units of `ONE`; the bit below says that `look` has read it.
    held: AtomicUsize,
    forgone: AtomicUsize,
}

const LOOKED: usize = 1;
const ONE: usize = 2;

impl Tally {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            live: AtomicUsize::new(shards),
            held: AtomicUsize::new(shards * ONE),
            forgone: AtomicUsize::new(0),
        }
    }

    /// Ends a shard; returns whether it was the last.
    pub(crate) fn last_shard(&self) -> bool {
        // E3: `Release` for the work done under this shard, `Acquire` for that of the shards that ended before.
        self.live.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// To be called after the held `Arc` is made. Returns whether `look` has counted it as work before.
    pub(crate) fn add_hold(&self) -> bool {
        // E5: `Release` for the `Arc`. E8 needs the bit alone.
        self.held.fetch_add(ONE, Ordering::Release) & LOOKED != 0
    }

    /// To be called before the held `Arc` is dropped. Returns whether `look` has left it out as no work.
    pub(crate) fn forgo_hold(&self) -> bool {
        // E5: the drop of the `Arc` releases it. E7: `Acquire`, pairs with `look`.
        self.forgone.fetch_add(ONE, Ordering::Acquire) & LOOKED != 0
    }

    /// The guards of `shards`, and the `kept` ones that are in none: exact while nobody makes or drops one, too high by
    /// what is being given up.
    pub(crate) fn count(&self, shards: &[Weak<Seat>], kept: usize) -> usize {
        // E5: pairs with `add_hold`.
        let held = self.held.load(Ordering::Acquire);
        let seats: usize = shards.iter().map(Weak::strong_count).sum();
        // E5: pairs with the drops of `Arc`s that were seen.
        fence(Ordering::Acquire);
        let forgone = self.forgone.load(Ordering::Relaxed);
        work(seats + kept, held, forgone)
    }

    /// [`count`](Self::count) that misses no guard, and tells those it concerns on which side of it they were: once, while
    /// the state of the drain is locked. A shard that ends here is put with the `ended`.
    pub(crate) fn look(&self, shards: &[Weak<Seat>], kept: usize, ended: &mut Vec<Seat>) -> usize {
        // E5: pairs with `add_hold`.
        let held = self.held.fetch_or(LOOKED, Ordering::Acquire);
        let seats: usize = shards
            .iter()
            .map(|shard| {
                let Some(seat) = shard.upgrade() else {
                    return 0;
                };
                // E7: the decrement releases, pairs with the upgrade in `seat`.
                ended.extend(Seat::give_up(seat));
                shard.strong_count()
            })
            .sum();
        // E5: pairs with the drops of `Arc`s that were seen.
        fence(Ordering::Acquire);
        // E7: `Release`, pairs with `forgo_hold`.
        let forgone = self.forgone.fetch_or(LOOKED, Ordering::AcqRel);
        work(seats + kept, held, forgone)
    }
}

/// Of so many `seats`, those that are work.
fn work(seats: usize, held: usize, forgone: usize) -> usize {
    let holds = (held & !LOOKED).wrapping_sub(forgone & !LOOKED);
    // The two wrap where many children come and go, and `forgone` may be ahead; what is left does not wrap.
    let work = (seats * ONE).wrapping_sub(holds);
    // A guard that went to rest in a kept seat meanwhile may be among the holds and not among the seats.
    if isize::try_from(work).is_ok() {
        work / ONE
    } else {
        0
    }
}

/// A seat in one of `shards`, in the calling thread's if that has not ended; `None` once all have (S3).
#[inline]
pub(crate) fn seat(shards: &[Weak<Seat>]) -> Option<Arc<Seat>> {
    own_seat(shards).or_else(|| late_seat(shards))
}

/// A seat in the calling thread's shard, unless that has ended.
#[inline]
pub(crate) fn own_seat(shards: &[Weak<Seat>]) -> Option<Arc<Seat>> {
    // There is at least one, and their number is a power of two.
    shards.get(slot() & (shards.len() - 1))?.upgrade()
}

/// While draining a shard may have ended before others. One that has ended stays so; hence, when every look failed,
/// all had ended by the last one.
#[cold]
pub(crate) fn late_seat(shards: &[Weak<Seat>]) -> Option<Arc<Seat>> {
    let seat = shards.iter().find_map(Weak::upgrade);
    if seat.is_none() {
        // E4: a look that fails is `Relaxed`; pairs with the `Release` decrements of `Arc`'s drop.
        fence(Ordering::Acquire);
    }
    seat
}

/// A number of the calling thread's own: threads that come up one after the other get different shards.
#[cfg(not(any(loom, shuttle)))]
#[inline]
pub(crate) fn slot() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};

    const UNSET: usize = usize::MAX;
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        // Without a destructor, so that it can be read in the destructors of other thread-locals.
        static SLOT: Cell<usize> = const { Cell::new(UNSET) };
    }

    #[cold]
    fn assign(slot: &Cell<usize>) -> usize {
        // Relaxed: the number itself is all there is.
        slot.set(NEXT.fetch_add(1, Ordering::Relaxed) % UNSET);
        slot.get()
    }

    SLOT.with(|slot| match slot.get() {
        UNSET => assign(slot),
        set => set,
    })
}

#[cfg(all(test, any(loom, shuttle)))]
pub(crate) use self::model::set_slot;
#[cfg(any(loom, shuttle))]
pub(crate) use self::model::slot;

/// In a model a thread says which slot it has; the first, if it says nothing.
#[cfg(any(loom, shuttle))]
mod model {
    use super::Cell;

    #[cfg(loom)]
    use loom::thread_local;
    #[cfg(shuttle)]
    use shuttle::thread_local;

    thread_local!(static SLOT: Cell<usize> = Cell::new(0));

    pub(crate) fn slot() -> usize {
        SLOT.with(Cell::get)
    }

    #[cfg(test)]
    pub(crate) fn set_slot(slot: usize) {
        SLOT.with(|own| own.set(slot));
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::slot;

    /// C1: a thread keeps its shard, and threads that come up one after the other have different ones.
    #[test]
    fn threads_spread_over_the_shards() {
        let of_a_thread = || {
            let (first, again) = std::thread::spawn(|| (slot(), slot())).join().unwrap();
            assert_eq!(first, again);
            first
        };
        assert_eq!(slot(), slot());
        assert_ne!(slot(), of_a_thread());
        assert_ne!(of_a_thread(), of_a_thread());
    }
}
