//! The tally: how many shards of a drain have not ended, and how many of their `Arc`s are not work
//! (S2 S3 S5 C1 C2).
//!
//! A guard is an `Arc`, beginning the drain drops the first `Arc` of each shard, and drained is the
//! `Drop` of the last shard. A shard that has ended can't be had again, because `Weak::upgrade`
//! fails for ever, so the last shard that ends ends the drain, once. No sum of live counters is
//! ever compared with zero.
//!
//! # Orderings
//!
//! E3. All that a task did before its guard dropped is visible to code that sees drained (S5).
//!     Within a shard, `Arc` promises that to its last owner, which runs the drop of the `Seat`.
//!     Across shards, `last_shard` does: a read-modify-write by which the last owner of each shard
//!     releases, and the very last one acquires. From there, E1 of the latch carries it on.
//! E4. The same is visible to a caller that is refused a guard, and so is the raise to draining (S4
//!     S5). Every owner of a shard releases its count, the thread that begins after its raise. A
//!     caller that has found each count at zero acquires them by a fence, since `Weak::upgrade`
//!     acquires only if it succeeds.
//! E5. `count` is never too low because a child or a kept `Arc` comes or goes while it runs: each
//!     presence that it subtracts is one that it finds among the seats, or finds ended. `look` is
//!     exact; see E7 and E8 of the node.

use crate::drain::sync::{AtomicUsize, Ordering, fence};

/// Counts the shards that have not ended, and the presences: `Arc`s of shards that are not work.
pub(crate) struct Tally {
    /// How many shards have not ended.
    live: AtomicUsize,
    /// How many presences have ever begun: the kept first `Arc`s, the seats of children, accept
    /// loops and idle connections. Like `ended` it only rises, so that `count` can read this one
    /// before it looks at the seats, and the other one after. Both are in units of `ONE`; the bit
    /// below is set once `look` has read them.
    begun: AtomicUsize,
    /// How many presences have ended.
    ended: AtomicUsize,
}

const LOOKED: usize = 1;
const ONE: usize = 2;

impl Tally {
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            live: AtomicUsize::new(shards),
            begun: AtomicUsize::new(shards * ONE),
            ended: AtomicUsize::new(0),
        }
    }

    /// Returns how many presences there are: exact while none begins or ends.
    pub(crate) fn count_presences(&self) -> usize {
        // Relaxed: a number to be shown.
        let [begun, ended] =
            [&self.begun, &self.ended].map(|count| count.load(Ordering::Relaxed) / ONE);
        // Wrapping, as in `work`; in the upper half, if one ended between the two loads.
        let presences = begun.wrapping_sub(ended) & (usize::MAX / ONE);
        if presences > usize::MAX / ONE / 2 {
            return 0;
        }
        presences
    }

    /// Ends a shard; returns whether it was the last.
    pub(crate) fn last_shard(&self) -> bool {
        // E3: `Release` for the work done under this shard, `Acquire` for that of the shards that
        // ended before.
        self.live.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Begins a presence, whose `Arc` the caller has already created. Returns whether `look` has
    /// counted that `Arc` as work.
    #[inline]
    pub(crate) fn begin_presence(&self) -> bool {
        // E5: `Release` for the `Arc`. E8 needs no more than the bit.
        self.begun.fetch_add(ONE, Ordering::Release) & LOOKED != 0
    }

    /// Ends a presence, whose `Arc` the caller still has. Returns whether `look` has left that
    /// `Arc` out.
    #[inline]
    pub(crate) fn end_presence(&self) -> bool {
        // E5: the drop of the `Arc` releases it. E7: `Acquire`, pairs with `look`.
        self.ended.fetch_add(ONE, Ordering::Acquire) & LOOKED != 0
    }

    /// Returns how many of the `seats` are work: exact while no guard is created or dropped, and
    /// otherwise too high by what is being given up.
    pub(crate) fn count(&self, seats: impl FnOnce() -> usize) -> usize {
        // E5: pairs with `begin_presence`.
        let begun = self.begun.load(Ordering::Acquire);
        let seats = seats();
        // E5: pairs with the drops of the `Arc`s that were seen.
        fence(Ordering::Acquire);
        let ended = self.ended.load(Ordering::Relaxed);
        work(seats, begun, ended)
    }

    /// Like [`count`](Self::count), but misses no guard, and tells each presence that begins or
    /// ends on which side of the count it was. Called once, with the state of the node locked.
    pub(crate) fn look(&self, seats: impl FnOnce() -> usize) -> usize {
        // E5: pairs with `begin_presence`.
        let begun = self.begun.fetch_or(LOOKED, Ordering::Acquire);
        let seats = seats();
        // E5: pairs with the drops of the `Arc`s that were seen.
        fence(Ordering::Acquire);
        // E7: `Release`, pairs with `end_presence`.
        let ended = self.ended.fetch_or(LOOKED, Ordering::AcqRel);
        work(seats, begun, ended)
    }
}

/// Returns how many of so many `seats` are work.
fn work(seats: usize, begun: usize, ended: usize) -> usize {
    let presences = (begun & !LOOKED).wrapping_sub(ended & !LOOKED);
    // The two counters wrap after many children, and `ended` may be ahead; the difference does not
    // wrap.
    let work = (seats * ONE).wrapping_sub(presences);
    // A guard that became idle in a kept seat while we counted may be among the presences and not
    // among the seats.
    if isize::try_from(work).is_ok() {
        work / ONE
    } else {
        0
    }
}
