//! How nodes become children, and how they end.

use std::{iter, sync::Arc as StdArc};

use crate::drain::{node::Node, part::Released, phase::Phase, sync::lock};

impl Node {
    /// Ends a shard of `node`, which has no owner left. The last one ends the drain (L2), and with
    /// it perhaps the parent's last shard: a loop, not a recursion, for the same reason as in
    /// `raise`.
    pub(crate) fn shard_emptied(node: &Self) {
        let mut next = node.end_shard();
        while let Some(node) = next {
            next = node.end_shard();
        }
    }

    /// Ends a shard. Returns the parent if the end of this node has ended a shard of it.
    fn end_shard(&self) -> Option<StdArc<Self>> {
        if !self.live.last_shard() {
            return None;
        }
        self.latch.advance(Phase::Drained);
        let (mut parent, mut has_details, mut spacers) = (None, false, None);
        for part in self.parts() {
            let list = {
                let mut state = lock(&part.state);
                parent = parent.or(state.parent.take());
                if let Some(details) = &mut state.details {
                    has_details = true;
                    spacers = spacers.or(details.spacers.take());
                }
                // E2: pairs with `Part::list_in`.
                state.list.take()
            };
            if let Some(list) = list {
                // Also for earlier phases: a thread that raised to one of them doesn't find the
                // list if it comes later.
                list.wake(Phase::Running, Phase::Drained);
            }
        }
        drop(spacers);
        let parent = parent?;
        Self::forget_child(&parent, self, has_details)
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
            (place, state.give_up_kept(part))
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
        // While the parent runs, a child that ends is only its own report's business, and records
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
        lock(&child.own.state).parent = Some(StdArc::clone(this));
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
