//! A seat: what a guard points to, and what keeps its drain from being drained.
//!
//! A drain has a few shards, each an `Arc<Seat>` of which the node keeps the first until draining
//! begins. A guard is one more `Arc` of the shard of the thread that asked for it. A tracked guard
//! has a seat of its own, which has an `Arc` of a shard.

use std::{mem, sync::Arc as StdArc};

use crate::drain::{entry::Entry, node::Node, sync::Arc};

/// What a guard points to: a shard of its drain or, if guards are tracked, an entry of its own.
///
/// Small, since a child has one. The shards of a drain that has several are `isolated`, so that no
/// other data shares a cache line with the counts in front of them (C1).
pub(crate) struct Seat(Kind);

enum Kind {
    /// A shard of the node, that of the part with the index.
    Shard(StdArc<Node>, usize),
    Tracked(Entry),
    /// A shard whose node was taken out, so that it can be ended without recursion, or one that has
    /// no node yet.
    Ended,
}

impl Seat {
    pub(crate) fn shard(node: &StdArc<Node>, part: usize) -> Self {
        Self(Kind::Shard(StdArc::clone(node), part))
    }

    pub(crate) fn tracked(entry: Entry) -> Self {
        Self(Kind::Tracked(entry))
    }

    pub(crate) fn ended() -> Self {
        Self(Kind::Ended)
    }

    /// Returns the entry of a tracked guard.
    #[inline]
    pub(crate) fn entry(&self) -> Option<&Entry> {
        match &self.0 {
            Kind::Tracked(entry) => Some(entry),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn node(&self) -> &StdArc<Node> {
        match &self.0 {
            Kind::Shard(node, _) => node,
            Kind::Tracked(entry) => entry.shard().node(),
            Kind::Ended => unreachable!("only an owned seat can be ended"),
        }
    }

    /// Returns the index of the part whose shard this is, or is an entry of.
    #[inline]
    pub(crate) fn part(&self) -> usize {
        match &self.0 {
            Kind::Shard(_, part) => *part,
            Kind::Tracked(entry) => entry.shard().part(),
            Kind::Ended => unreachable!("only an owned seat can be ended"),
        }
    }

    /// Drops one owner without ending anything. If it was the last, returns what has ended, which
    /// the caller drops or ends.
    pub(crate) fn give_up(seat: Arc<Self>) -> Option<Self> {
        let mut last = Arc::into_inner(seat)?;
        match mem::replace(&mut last.0, Kind::Ended) {
            Kind::Tracked(entry) => Self::give_up(entry.into_shard()),
            shard => Some(Self(shard)),
        }
    }

    /// Returns the node of a shard that has no owner but the caller, which ends it.
    pub(crate) fn into_node(mut self) -> Option<StdArc<Node>> {
        match mem::replace(&mut self.0, Kind::Ended) {
            Kind::Shard(node, _) => Some(node),
            _ => None,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Kind::Shard(node, _) = mem::replace(&mut self.0, Kind::Ended) {
            Node::shard_emptied(&node);
        }
    }
}
