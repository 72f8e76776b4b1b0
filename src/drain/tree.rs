//! How nodes become children, and how they end.

use std::{iter, sync::Arc as StdArc};

use crate::drain::{
    latch::WaitList,
    node::Node,
    part::{Released, State},
    phase::Phase,
    sync::lock,
};

/// What a node that has drained leaves behind: all of it is used without a lock (S6).
#[derive(Default)]
pub(super) struct Ended {
    parent: Option<StdArc<Node>>,
    has_details: bool,
}

impl Ended {
    /// The waits that its wait lists wake. Also those for earlier phases: a thread that raised to
    /// one of them doesn't find the list if it comes later.
    pub(super) const WAKES: (Phase, Phase) = (Phase::Running, Phase::Drained);

    /// Takes what the `state` of a part has of it, and returns the wait list of the part.
    fn take(&mut self, state: &mut State) -> Option<StdArc<WaitList>> {
        if let Some(parent) = state.parent.take() {
            self.parent = Some(parent);
        }
        self.has_details |= state.details.is_some();
        // E2: pairs with `Part::list_in`.
        state.list.take()
    }

    /// Removes `node` from its parent, and ends what ends with that: a loop, not a recursion, for
    /// the same reason as in `raise`.
    pub(super) fn leave(self, node: &Node) {
        let mut next = self.leave_one(node);
        while let Some(node) = next {
            next = node.end_shard().and_then(|ended| ended.leave_one(&node));
        }
    }

    /// Removes `node` from its parent. Returns the parent if a shard of it has no owner left.
    fn leave_one(self, node: &Node) -> Option<StdArc<Node>> {
        Node::forget_child(&self.parent?, node, self.has_details)
    }
}

impl Node {
    /// Ends a shard of `node`, which has no owner left. The last one ends the drain (L2), and with
    /// it perhaps the parent's last shard.
    pub(crate) fn shard_emptied(node: &Self) {
        if let Some(ended) = node.end_shard() {
            ended.leave(node);
        }
    }

    /// Ends a shard. Returns what is left of this node if it was the last.
    fn end_shard(&self) -> Option<Ended> {
        if !self.live.last_shard() {
            return None;
        }
        self.latch.advance(Phase::Drained);
        let mut ended = Ended::default();
        for part in self.parts() {
            let (list, spacers) = {
                let mut state = lock(&part.state);
                let details = state.details.as_mut();
                let spacers = details.and_then(|details| details.spacers.take());
                (ended.take(&mut state), spacers)
            };
            drop(spacers);
            if let Some(list) = list {
                let (after, up_to) = Ended::WAKES;
                list.wake(after, up_to);
            }
        }
        Some(ended)
    }

    /// Ends a child whose only shard has no owner left, and whose part is locked: a child that ends
    /// as it begins takes its lock once. The caller wakes the list, of which it has an `Arc`.
    pub(super) fn end_child(&self, state: &mut State) -> Ended {
        // E3: it has one shard only, and the caller has acquired the work under that.
        self.latch.advance(Phase::Drained);
        let mut ended = Ended::default();
        drop(ended.take(state));
        ended
    }

    /// Removes `child`, which has ended, from its part. Returns this node if that ends the shard of
    /// the part.
    fn forget_child(this: &StdArc<Self>, child: &Self, has_details: bool) -> Option<StdArc<Self>> {
        if has_details {
            this.take_over(child);
        }
        let part = this.part_at(child.key.part());
        let (place, released) = {
            let mut state = lock(&part.state);
            let place = state.children.remove(child);
            (place, state.give_up_kept())
        };
        drop(place);
        match released {
            Released::Alive => None,
            Released::Empty => Some(StdArc::clone(this)),
            // Its own drop would come back here one stack frame deeper.
            Released::Seat(seat) => seat.into_node(),
        }
    }

    /// Takes over what `child`, which has ended, has on record.
    fn take_over(&self, child: &Self) {
        let mut state = lock(&self.first().state);
        let mut below = lock(&child.own.state);
        let Some(details) = &mut below.details else {
            return;
        };
        details.ended = true;
        // While the parent runs, a child that ends matters to its own report alone, and records
        // would pile up.
        if self.latch.is(Phase::LameDuck) {
            if let Some(abandoned) = &details.abandoned {
                let details = state.details.get_or_insert_default();
                details.abandon(abandoned.as_ref().clone());
            }
        }
    }

    /// Makes `child`, a new drain that no other thread knows yet, a child of this one. Returns
    /// `false` if this one has drained.
    pub(crate) fn adopt(this: &StdArc<Self>, child: &StdArc<Self>) -> bool {
        let mut parts = iter::once(this.part_index()).chain(0..this.several().len());
        if !parts.any(|index| Self::adopt_in(this, index, child)) {
            return false;
        }
        // Register the child before reading the phase: a concurrent `raise` either finds it in the
        // list, or has moved this node before we took the lock, which we see here.
        let phase = this.latch.phase();
        if phase > Phase::Running {
            let limit = lock(&this.first().state)
                .details
                .as_ref()
                .and_then(|details| details.limit);
            child.step(phase.min(Phase::Aborting), limit);
        }
        true
    }

    /// Makes `child` a child in the part with that index, unless the shard of that has ended.
    fn adopt_in(this: &StdArc<Self>, index: usize, child: &StdArc<Self>) -> bool {
        let part = this.part_at(index);
        let mut state = lock(&part.state);
        if !state.keep(part) {
            return false;
        }
        state.children.insert(StdArc::clone(child), index);
        true
    }

    /// Returns the children.
    pub(super) fn children(&self) -> Vec<StdArc<Node>> {
        let mut children = Vec::new();
        for part in self.parts() {
            part.children(&mut children);
        }
        children
    }

    /// Returns all nodes below, parents before their children.
    pub(super) fn below(&self) -> Vec<StdArc<Node>> {
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
}
