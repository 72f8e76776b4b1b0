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
//!     S5). Every owner of a shard releases its count, and the thread that begins the drain
//!     does so after its raise. A
//!     caller that has found each count at zero acquires them by a fence, since `Weak::upgrade`
//!     acquires only if it succeeds. A shard that never had a seat is closed under its lock.
//! E5. `count` is never too low because an idle connection comes or goes while it runs: each
//!     presence that it subtracts is one that it finds among the seats, or finds ended. `look` is
//!     exact; see E7 and E8 in `raise`.

use std::sync::atomic;

use crate::drain::sync::{AtomicUsize, Ordering, fence};

/// Counts the shards that have not ended.
pub(crate) struct LiveShards(AtomicUsize);

impl LiveShards {
    pub(crate) fn new(shards: usize) -> Self {
        Self(AtomicUsize::new(shards))
    }

    /// Ends a shard; returns whether it was the last.
    pub(crate) fn last_shard(&self) -> bool {
        // E3: `Release` for the work done under this shard, `Acquire` for that of the shards that
        // ended before.
        self.0.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

/// Counts the presences of a shard that may begin and end without its lock: `Arc`s that are not
/// work, but an accept loop, an idle connection or a task of a server.
pub(crate) struct Tally {
    /// How many presences have ever begun. Like `ended` it only rises, so that `count` can read
    /// this one before it looks at the seats, and the other one after. Both are in units of `ONE`;
    /// the bit below is set once `look` has read them.
    begun: AtomicUsize,
    /// How many presences have ended.
    ended: AtomicUsize,
    /// How many of the presences are accept loops and tasks of servers. It only informs, so models
    /// don't see it.
    serving: atomic::AtomicUsize,
}

const LOOKED: usize = 1;
const ONE: usize = 2;

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            begun: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            serving: atomic::AtomicUsize::new(0),
        }
    }

    /// Counts a presence as an accept loop or a task of a server, until
    /// [`end_serving`](Self::end_serving).
    #[inline]
    pub(crate) fn begin_serving(&self) {
        // Relaxed, here and below: it publishes nothing.
        self.serving.fetch_add(1, atomic::Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn end_serving(&self) {
        self.serving.fetch_sub(1, atomic::Ordering::Relaxed);
    }

    /// Returns how many presences there are beside accept loops and tasks of servers: exact while
    /// none begins or ends.
    pub(crate) fn count_presences(&self) -> isize {
        // Relaxed: a number to be shown.
        let [begun, ended] = [&self.begun, &self.ended].map(|count| count.load(Ordering::Relaxed));
        let serving = self.serving.load(atomic::Ordering::Relaxed);
        -work(serving, begun, ended)
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
    pub(crate) fn count(&self, seats: impl FnOnce() -> usize) -> isize {
        // E5: pairs with `begin_presence`.
        let begun = self.begun.load(Ordering::Acquire);
        let seats = seats();
        // E5: pairs with the drops of the `Arc`s that were seen.
        fence(Ordering::Acquire);
        let ended = self.ended.load(Ordering::Relaxed);
        work(seats, begun, ended)
    }

    /// Like [`count`](Self::count), but misses no guard, and tells each presence that begins or
    /// ends on which side of the count it was. Called once, with the states of the node locked.
    pub(crate) fn look(&self, seats: impl FnOnce() -> usize) -> isize {
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

/// Returns how many of the `seats` are work. That is negative by what is counted elsewhere: the
/// guards in the registry's seats, and one that became idle while we counted.
fn work(seats: usize, begun: usize, ended: usize) -> isize {
    let presences = (begun & !LOOKED).wrapping_sub(ended & !LOOKED);
    // The two counters wrap after many connections, and `ended` may be ahead; the difference does
    // not wrap.
    #[allow(clippy::cast_possible_wrap, reason = "a small number, of either sign")]
    let twice = (seats * ONE).wrapping_sub(presences) as isize;
    twice / 2
}
