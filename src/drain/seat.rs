//! A seat: what a guard points to, and what keeps its drain from being drained.
//!
//! A drain has a few shards, each an `Arc<Seat>` of which the node keeps the first until draining
//! begins. A guard is one more `Arc` of the shard of the thread that asked for it. A tracked guard
//! has a seat of its own, which has an `Arc` of a shard.

use std::mem;

use crate::drain::{
    node::Node,
    sync::{Arc, CachePadded, Ordering, Weak, fence},
    thread_index::thread_index,
    tracked::Entry,
};

/// What a guard points to: a shard of its drain or, if guards are tracked, an entry of its own.
///
/// Aligned so that no other data shares a cache line with the counts in front of it (C1).
pub(crate) struct Seat(CachePadded<Kind>);

enum Kind {
    Shard(Arc<Node>),
    Tracked(Entry),
    /// A shard whose node was taken out, so that it can be ended without recursion.
    Ended,
}

impl Seat {
    pub(crate) fn shard(node: &Arc<Node>) -> Arc<Self> {
        Arc::new(Self(CachePadded(Kind::Shard(Arc::clone(node)))))
    }

    pub(crate) fn tracked(entry: Entry) -> Arc<Self> {
        Arc::new(Self(CachePadded(Kind::Tracked(entry))))
    }

    /// Returns the entry of a tracked guard.
    #[inline]
    pub(crate) fn entry(&self) -> Option<&Entry> {
        match &self.0.0 {
            Kind::Tracked(entry) => Some(entry),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn node(&self) -> &Arc<Node> {
        match &self.0.0 {
            Kind::Shard(node) => node,
            Kind::Tracked(entry) => entry.shard().node(),
            Kind::Ended => unreachable!("only an owned seat can be ended"),
        }
    }

    /// Drops one owner without ending anything. If it was the last, returns what has ended, which
    /// the caller drops or ends.
    pub(crate) fn give_up(seat: Arc<Self>) -> Option<Self> {
        let mut last = Arc::into_inner(seat)?;
        match mem::replace(&mut last.0.0, Kind::Ended) {
            Kind::Tracked(entry) => Self::give_up(entry.into_shard()),
            shard => Some(Self(CachePadded(shard))),
        }
    }

    /// Returns the node of a shard that has no owner but the caller, which ends it.
    pub(crate) fn into_node(mut self) -> Option<Arc<Node>> {
        match mem::replace(&mut self.0.0, Kind::Ended) {
            Kind::Shard(node) => Some(node),
            _ => None,
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Kind::Shard(node) = mem::replace(&mut self.0.0, Kind::Ended) {
            Node::shard_emptied(node);
        }
    }
}

/// Returns a seat in one of `shards`, in the calling thread's unless that has ended; `None` once
/// all have (S3).
#[inline]
pub(crate) fn seat(shards: &[Weak<Seat>]) -> Option<Arc<Seat>> {
    own_seat(shards).or_else(|| late_seat(shards))
}

/// Returns a seat in the calling thread's shard, unless that has ended.
#[inline]
pub(crate) fn own_seat(shards: &[Weak<Seat>]) -> Option<Arc<Seat>> {
    // There is at least one shard, and their number is a power of two.
    shards.get(thread_index() & (shards.len() - 1))?.upgrade()
}

/// Returns a seat in any of `shards`: while draining, one may have ended before others. A shard
/// that has ended stays so; hence, if every upgrade failed, all had ended by the last one.
#[cold]
pub(crate) fn late_seat(shards: &[Weak<Seat>]) -> Option<Arc<Seat>> {
    let seat = shards.iter().find_map(Weak::upgrade);
    if seat.is_none() {
        // E4: an upgrade that fails is `Relaxed`; pairs with the `Release` decrements of `Arc`'s
        // drop.
        fence(Ordering::Acquire);
    }
    seat
}

/// Returns how many owners the `shards` have.
pub(crate) fn count(shards: &[Weak<Seat>]) -> usize {
    shards.iter().map(Weak::strong_count).sum()
}

/// Like [`count`], but by a read-modify-write of each shard. A shard that ends by this is put with
/// the `ended`.
pub(crate) fn look(shards: &[Weak<Seat>], ended: &mut Vec<Seat>) -> usize {
    let owners = |shard: &Weak<Seat>| {
        let Some(seat) = shard.upgrade() else {
            return 0;
        };
        // E7: the decrement releases, pairs with the upgrade in `own_seat`.
        ended.extend(Seat::give_up(seat));
        shard.strong_count()
    };
    shards.iter().map(owners).sum()
}
