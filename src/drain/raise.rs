//! How a node and all below it move to a phase, and what aborting records.
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
//!     the count it was (`Tally::look`), and so whether its work was counted. A server's task can't
//!     either, and may be counted (`presence_for_task`).

use std::{iter, time::Instant};

use crate::{
    Stragglers,
    clock::Timestamp,
    drain::{
        details::Limit,
        node::Node,
        part::{Part, Released, State},
        phase::Phase,
        seat::Seat,
        sync::{Arc, MutexGuard, Ordering, lock},
        tree::Ended,
    },
};

impl Node {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let state = lock(&self.first().state);
        let limit = state.details.as_ref().and_then(|details| details.limit);
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
            self.with_details(|details| {
                details.begun_with.get_or_insert(in_flight);
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
    pub(super) fn raise_uncounted(&self, phase: Phase, deadline: Option<Instant>) -> bool {
        if phase == Phase::Aborting {
            return self.abort(deadline);
        }
        let limit = self.publish_below(phase, deadline);
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
        let limit = self.publish_below(Phase::Aborting, deadline);
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
                        states[0].details.get_or_insert_default().abandon(look);
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

    /// Waits until an abort that is counting has finished counting.
    #[inline]
    pub(super) fn wait_for_look(&self) {
        // E7: Relaxed: a caller that must see the raise has acquired it by what it did before.
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
    pub(super) fn step(&self, phase: Phase, limit: Option<Limit>) -> (bool, bool) {
        // S7: published first, so that code that sees the phase can read it.
        if let Some(limit) = limit {
            self.publish(limit);
        }
        let before = self.latch.advance(phase);
        let childless = self.follow(before, phase);
        (before < phase, childless)
    }

    /// Publishes the deadline of `phase`, if there is one, here and below.
    ///
    /// S7: everywhere before anything moves, since a task that a phase of this drain wakes may read
    /// the deadline of a child.
    #[inline]
    fn publish_below(&self, phase: Phase, deadline: Option<Instant>) -> Option<Limit> {
        let limit = deadline.map(|at| Limit { to: phase, at });
        if let Some(limit) = limit {
            self.for_each(|node| node.publish(limit));
        }
        limit
    }

    fn publish(&self, limit: Limit) {
        self.with_details(|details| details.publish(limit));
    }

    /// Does what follows from the raise of the level from `before` to `phase`: wakes all that waits
    /// for that, and, if draining has begun, drops the kept `Arc`s. From then on a shard ends with
    /// its last guard. Returns whether there were no children after the raise.
    fn follow(&self, before: Phase, phase: Phase) -> bool {
        if before >= phase {
            return false;
        }
        let begun = before < Phase::Draining && phase >= Phase::Draining;
        let childless = match self.several() {
            [] => self.follow_in(&self.own, before, phase, begun),
            parts => {
                let mut childless = true;
                for part in parts {
                    childless &= self.follow_in(part, before, phase, begun);
                }
                childless
            }
        };
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

    /// Does the same in one part, less what concerns the registry.
    #[inline]
    fn follow_in(&self, part: &Part, before: Phase, phase: Phase, begun: bool) -> bool {
        let (childless, list, released, ended) = {
            let mut state = lock(&part.state);
            let released = if begun {
                state.release()
            } else {
                Released::Alive
            };
            // E2: pairs with `Part::list_in`.
            let list = state.list.clone();
            let ended = match released {
                Released::Seat(_) | Released::Empty if self.is_child() => {
                    Some(self.end_child(&mut state))
                }
                _ => None,
            };
            (state.children.is_empty(), list, released, ended)
        };
        if let Some(list) = list {
            let (after, up_to) = match ended {
                Some(_) => Ended::WAKES,
                None => (before, phase),
            };
            list.wake(after, up_to);
        }
        // What ends with it may wake waiters, which must not happen under our lock (S6).
        if let Some(ended) = ended {
            if let Released::Seat(seat) = released {
                // It was ended under the lock.
                seat.into_node();
            }
            ended.leave(self);
        }
        childless
    }
}
