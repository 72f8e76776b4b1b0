//! The registry: label, place and age of each guard, for a drain that tracks them.
//!
//! While the drain runs, the registry keeps the first `Arc` of each seat, as the node keeps that of
//! each shard. So a seat without another owner is free for the next guard, and dropping a guard
//! takes no lock. Beginning the drain drops those `Arc`s: from then on a seat ends with its guard,
//! and gives up its place in a shard.

use std::{borrow::Cow, mem, panic::Location};

use crate::{
    clock::Timestamp,
    drain::{
        entry::Entry,
        node::Node,
        record::{Record, SeatOwner},
        record_list::{RecordList, Records},
        seat::Seat,
        sync::{Arc, CachePadded},
        thread_index::thread_index,
    },
    report::Straggler,
};

/// The tracked guards of a drain, in as many lists as it has parts.
pub(crate) struct Registry {
    /// The list of a child.
    own: RecordList,
    /// The lists of a drain that is not a child.
    several: Box<[CachePadded<RecordList>]>,
}

/// The label, place and time of a new guard.
type Known = (
    Option<Cow<'static, str>>,
    &'static Location<'static>,
    Timestamp,
);

impl Registry {
    /// Creates the registry of a node with `several` parts, or 0 for a child; `released` if
    /// draining has begun.
    pub(crate) fn new(several: usize, released: bool) -> Self {
        let list = || RecordList::new(released);
        Self {
            own: list(),
            several: (0..several).map(|_| CachePadded(list())).collect(),
        }
    }

    pub(super) fn list(&self, index: usize) -> &RecordList {
        self.several.get(index).map_or(&self.own, |list| &list.0)
    }

    fn lists(&self) -> impl Iterator<Item = &RecordList> {
        let own = self.several.is_empty().then_some(&self.own);
        own.into_iter()
            .chain(self.several.iter().map(|list| &list.0))
    }

    /// Returns a seat for a guard of `node`, which has this registry; `None` if a new one is needed
    /// and `shard` has none.
    #[inline]
    pub(crate) fn enter(
        &self,
        node: &Node,
        place: &'static Location<'static>,
        label: Option<Cow<'static, str>>,
        shard: impl FnOnce() -> Option<Arc<Seat>>,
    ) -> Option<Arc<Seat>> {
        let since = Timestamp::lately();
        let index = thread_index() & self.several.len().wrapping_sub(1);
        let list = self.list(index);
        let mut records = list.lock_and_sweep();
        if let Some(vacant) = records.vacant() {
            let record = &mut records.all[vacant];
            if let SeatOwner::Kept(seat) = &record.seat {
                let seat = Arc::clone(seat);
                record.place = place;
                record.since = since;
                let old = (record.label.take(), record.work.take());
                record.label = label;
                drop(records);
                drop(old);
                return Some(seat);
            }
        }
        drop(records);
        // A shard may take the lock of its part, which comes before that of the list.
        let known = (label, place, since);
        Some(Self::add(node, shard()?, list, index, known))
    }

    /// Adds a record and its seat to the `list` with that index.
    #[inline(never)]
    fn add(
        node: &Node,
        shard: Arc<Seat>,
        list: &RecordList,
        index: usize,
        (label, place, since): Known,
    ) -> Arc<Seat> {
        let mut guard = list.lock();
        let records = &mut *guard;
        // One that is kept has become vacant since. It stays so.
        let vacant = records
            .vacant()
            .filter(|&index| !records.all[index].is_kept());
        let record = vacant.unwrap_or(records.all.len());
        records.hand = record;
        let part = shard.part();
        let seat = Arc::new(Seat::tracked(Entry::new(shard, index, record)));
        let new = Record {
            seat: if records.released {
                SeatOwner::Released(Arc::downgrade(&seat))
            } else {
                node.part_at(part).tally.begin_presence();
                SeatOwner::Kept(Arc::clone(&seat))
            },
            label,
            place,
            since,
            work: None,
        };
        let old = if let Some(vacant) = records.all.get_mut(record) {
            Some(mem::replace(vacant, new))
        } else {
            records.all.push(new);
            None
        };
        drop(guard);
        drop(old);
        seat
    }

    /// Drops the kept `Arc`s of `node`, whose states are locked. What has ended is added to
    /// `ended`.
    pub(crate) fn release(&self, node: &Node, ended: &mut Vec<Seat>) {
        for list in self.lists() {
            let mut records = list.lock();
            records.released = true;
            for record in &mut records.all {
                if let SeatOwner::Kept(seat) = &record.seat {
                    // From here on the shards count the guard in it.
                    node.part_at(seat.part()).tally.end_presence();
                    let released = SeatOwner::Released(Arc::downgrade(seat));
                    if let SeatOwner::Kept(seat) = mem::replace(&mut record.seat, released) {
                        ended.extend(Seat::give_up(seat));
                    }
                }
            }
        }
    }

    /// Returns how many guards are in kept seats, and so not counted by the shards, and what is
    /// known of all that are at work: exactly, since each list is read at once under its lock.
    pub(crate) fn look(&self, now: Timestamp) -> (usize, Vec<Straggler>) {
        let (mut kept, mut known) = (0, Vec::new());
        for list in self.lists() {
            for record in list.lock().all.iter().filter(|record| record.taken()) {
                kept += usize::from(record.is_kept());
                if record.is_at_work() {
                    known.push(record.straggler(now));
                }
            }
        }
        (kept, known)
    }

    /// Calls `each` for the record of each guard, a few at a time under a lock, and `before` each
    /// step without it.
    fn for_each<T>(&self, into: &mut T, before: fn(&mut T), each: impl Fn(&mut T, &Record)) {
        for list in self.lists() {
            list.walk(into, before, &each);
        }
    }

    /// Returns how many guards are in kept seats, and so not counted by the shards.
    pub(crate) fn count_kept(&self) -> usize {
        let mut kept = 0;
        self.for_each(
            &mut kept,
            |_| (),
            |kept, record| *kept += usize::from(record.is_kept()),
        );
        kept
    }

    /// Returns how many seats are kept, with or without a guard.
    pub(crate) fn kept_records(&self) -> usize {
        let kept = |list: &RecordList| {
            let records = list.lock();
            if records.released {
                0
            } else {
                records.all.len()
            }
        };
        self.lists().map(kept).sum()
    }

    /// Returns how many guards are in kept seats, as [`count_kept`](Self::count_kept) does, and
    /// adds the guards of this registry to `oldest`, which holds the oldest `most`, oldest first.
    pub(crate) fn overview(
        &self,
        now: Timestamp,
        most: usize,
        oldest: &mut Vec<Straggler>,
    ) -> usize {
        let mut found = (0, oldest);
        self.for_each(
            &mut found,
            |_| (),
            |(kept, oldest), record| {
                *kept += usize::from(record.is_kept());
                let age = now.since(record.since);
                let place = oldest.partition_point(|known| known.age >= age);
                // Only what may stay is copied.
                if record.is_at_work() && place < most {
                    oldest.insert(place, record.straggler(now));
                    oldest.truncate(most);
                }
            },
        );
        found.0
    }

    pub(crate) fn collect(&self, now: Timestamp, into: &mut Vec<Straggler>) {
        self.for_each(
            into,
            // A growth under the lock would copy all of them.
            |into| into.reserve(Records::STEP),
            |into, record| {
                if record.is_at_work() {
                    into.push(record.straggler(now));
                }
            },
        );
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use std::{collections::HashSet, thread};

    use crate::{Drain, Drained, Guard, Phase};

    fn tracked() -> Drain {
        Drain::tracked()
    }

    fn labels(drain: &Drain) -> Vec<String> {
        let stragglers = drain.stragglers();
        let labels = stragglers.iter().map(|s| s.label.as_deref());
        let mut labels: Vec<_> = labels.map(|l| l.unwrap_or("none").to_owned()).collect();
        labels.sort();
        labels
    }

    #[test]
    fn a_seat_that_is_taken_again_tells_nothing_of_the_guard_before() {
        let drain = tracked();
        for _ in 0..100 {
            drop(drain.guard().unwrap().labeled("before"));
        }
        assert_eq!(drain.in_flight(), 0);
        assert!(labels(&drain).is_empty());
        let guards: Vec<_> = (0..100).map(|_| drain.guard().unwrap()).collect();
        assert_eq!(drain.in_flight(), 100);
        assert_eq!(labels(&drain), vec!["none"; 100]);
        drop(guards);
        assert_eq!(drain.in_flight(), 0);
    }

    #[test]
    fn no_two_guards_share_a_seat() {
        let drain = tracked();
        let mut guards: Vec<Guard> = Vec::new();
        let mut label = 0_u32;
        for round in 0..200_usize {
            if round == 150 {
                drain.begin();
            }
            for _ in 0..=round % 7 {
                guards.push(drain.guard().unwrap().labeled(label.to_string()));
                label += 1;
            }
            for _ in 0..round % 6 {
                drop(guards.swap_remove(round * 31 % guards.len()));
            }
            let unique: HashSet<_> = labels(&drain).into_iter().collect();
            assert_eq!(unique.len(), guards.len());
            assert_eq!(drain.in_flight(), guards.len());
        }
    }

    /// S2 S3: tracked guards that were created before, while and after draining began.
    #[test]
    fn drained_is_the_last_tracked_guard() {
        let drain = tracked();
        drop(drain.guard());
        let first = drain.guard().unwrap().labeled("first");
        drain.begin();
        let late = drain.guard().unwrap().labeled("late");
        let clone = late.clone();
        assert_eq!(labels(&drain), ["first", "late", "late"]);
        assert_eq!(drain.in_flight(), 3);
        drop((first, late));
        assert_eq!(drain.phase(), Phase::Draining);
        drop(drain.guard().unwrap());
        assert_eq!(drain.in_flight(), 1);
        drop(clone);
        assert_eq!(drain.phase(), Phase::Drained);
        assert_eq!(drain.guard().unwrap_err(), Drained);
        assert_eq!(drain.in_flight(), 0);
    }

    /// S2 S4: makers on several threads, whose guards others drop, while it begins.
    #[test]
    fn a_beginning_among_tracked_guards_misses_none() {
        for _ in 0..20 {
            let drain = tracked();
            let (send, receive) = std::sync::mpsc::channel();
            thread::scope(|scope| {
                for _ in 0..3 {
                    let (drain, send) = (&drain, send.clone());
                    scope.spawn(move || {
                        while let Ok(guard) = drain.guard() {
                            assert!(drain.phase() < Phase::Drained);
                            if send.send(guard.clone()).is_err() || drain.is_draining() {
                                break;
                            }
                        }
                    });
                }
                drop(send);
                scope.spawn(move || receive.into_iter().take(1000).for_each(drop));
                thread::yield_now();
                drain.begin();
            });
            drain.until_drained().wait();
            assert_eq!(drain.in_flight(), 0);
            assert!(drain.stragglers().iter().next().is_none());
        }
    }
}
