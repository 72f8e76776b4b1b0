//! The registry: label, place and age of each guard, for a drain that tracks them.
//!
//! While the drain runs, the registry keeps the first `Arc` of each seat, as the node keeps that of
//! each shard. So a seat without another owner is free for the next guard, and dropping a guard
//! takes no lock. Beginning the drain drops those `Arc`s: from then on a seat ends with its guard,
//! and gives up its place in a shard.

use std::{
    borrow::Cow,
    cmp::Reverse,
    mem,
    panic::Location,
    sync::{
        Arc as StdArc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use crate::{
    clock::Timestamp,
    drain::{
        node::Node,
        seat::Seat,
        sync::{Arc, CachePadded, Mutex, MutexGuard, Weak, lock},
        tally::Tally,
        thread_index::thread_index,
    },
    report::Straggler,
};

/// The tracked guards of a drain, in as many lists as it has shards.
pub(crate) struct Registry(Box<[CachePadded<Mutex<Records>>]>);

struct Records {
    all: Vec<Record>,
    /// The records that the last look found vacant and that have not been taken since.
    vacant: Vec<usize>,
    /// At how many records the next look for vacant ones is due: twice the guards that the last
    /// look found alive, so that looking costs each guard only a few steps, and the records are
    /// bounded by the guards.
    look_at: usize,
    /// Set by `release`, once draining has begun.
    released: bool,
}

/// A seat, and what is known of the guard in it or of the last one that was.
struct Record {
    seat: SeatOwner,
    label: Option<Cow<'static, str>>,
    place: &'static Location<'static>,
    since: Timestamp,
    /// Set for a connection, which is at work only at times: it is a straggler only then.
    work: Option<StdArc<WorkState>>,
}

/// How a record refers to its seat.
enum SeatOwner {
    /// By the first `Arc`, while the drain runs.
    Kept(Arc<Seat>),
    Released(Weak<Seat>),
}

impl Record {
    /// Returns whether a guard is in the seat.
    fn taken(&self) -> bool {
        match &self.seat {
            SeatOwner::Kept(seat) => Arc::strong_count(seat) > 1,
            SeatOwner::Released(seat) => seat.strong_count() > 0,
        }
    }

    /// Marks the connection at work: its age is that of the work.
    fn resume(&mut self) {
        if let Some(work) = &self.work {
            if !work.is_at_work() {
                self.since = Timestamp::lately();
                work.set_at_work(true);
            }
        }
    }

    fn straggler(&self, now: Timestamp) -> Straggler {
        Straggler {
            label: self.label.clone(),
            place: self.place,
            age: now.since(self.since),
            lost: false,
        }
    }

    fn is_at_work(&self) -> bool {
        // Relaxed: it is set under the lock, by which we see the time as well. That it is cleared
        // we may see late.
        self.work.as_ref().is_none_or(|work| work.is_at_work())
    }
}

impl Records {
    const FEW: usize = 4;

    fn new() -> Self {
        Self {
            all: Vec::new(),
            vacant: Vec::new(),
            look_at: Self::FEW,
            released: false,
        }
    }

    fn vacant(&mut self) -> Option<usize> {
        if self.vacant.is_empty() && self.all.len() >= self.look_at {
            let records = self.all.iter().enumerate();
            let vacant = records.filter(|(_, record)| !record.taken());
            self.vacant.extend(vacant.map(|(index, _)| index));
            self.look_at = Self::FEW.max(2 * (self.all.len() - self.vacant.len()));
        }
        self.vacant.pop()
    }

    fn taken(&self) -> impl Iterator<Item = &Record> {
        self.all.iter().filter(|record| record.taken())
    }
}

impl Registry {
    pub(crate) fn new(lists: usize) -> Self {
        Self(
            (0..lists)
                .map(|_| CachePadded(Mutex::new(Records::new())))
                .collect(),
        )
    }

    /// Returns a seat for a guard of `node`, which has this registry; `None` if a new one is needed
    /// and `shard` has none.
    pub(crate) fn enter(
        &self,
        node: &Node,
        place: &'static Location<'static>,
        label: Option<Cow<'static, str>>,
        shard: impl FnOnce() -> Option<Arc<Seat>>,
    ) -> Option<Arc<Seat>> {
        let since = Timestamp::lately();
        let list = thread_index() & (self.0.len() - 1);
        let mut guard = lock(&self.0[list]);
        let records = &mut *guard;
        let vacant = records.vacant();
        if let Some(record) = vacant.map(|index| &mut records.all[index]) {
            if let SeatOwner::Kept(seat) = &record.seat {
                let seat = Arc::clone(seat);
                record.place = place;
                record.since = since;
                record.work = None;
                let old = mem::replace(&mut record.label, label);
                drop(guard);
                drop(old);
                return Some(seat);
            }
        }

        let index = vacant.unwrap_or(records.all.len());
        let seat = Seat::tracked(Entry {
            shard: shard()?,
            list,
            record: index,
        });
        let record = Record {
            seat: if records.released {
                SeatOwner::Released(Arc::downgrade(&seat))
            } else {
                node.tally.begin_presence();
                SeatOwner::Kept(Arc::clone(&seat))
            },
            label,
            place,
            since,
            work: None,
        };
        let old = if let Some(vacant) = records.all.get_mut(index) {
            Some(mem::replace(vacant, record))
        } else {
            records.all.push(record);
            None
        };
        drop(guard);
        drop(old);
        Some(seat)
    }

    /// Drops the kept `Arc`s; `tally` is that of the node, whose state is locked. What has ended is
    /// put with the `ended`.
    pub(crate) fn release(&self, tally: &Tally, ended: &mut Vec<Seat>) {
        for records in &self.0 {
            let mut records = lock(records);
            records.released = true;
            for record in &mut records.all {
                if let SeatOwner::Kept(seat) = &record.seat {
                    // From here on the shards count the guard in it.
                    tally.end_presence();
                    let released = SeatOwner::Released(Arc::downgrade(seat));
                    if let SeatOwner::Kept(seat) = mem::replace(&mut record.seat, released) {
                        ended.extend(Seat::give_up(seat));
                    }
                }
            }
        }
    }

    /// Returns how many guards are in kept seats, and so not counted by the shards.
    pub(crate) fn count_kept(&self) -> usize {
        let kept = |record: &&Record| matches!(record.seat, SeatOwner::Kept(_));
        let lists = self.0.iter();
        lists
            .map(|records| lock(records).taken().filter(kept).count())
            .sum()
    }

    /// Returns how many seats are kept, with or without a guard.
    pub(crate) fn kept_records(&self) -> usize {
        let kept = |records: MutexGuard<'_, Records>| {
            if records.released {
                0
            } else {
                records.all.len()
            }
        };
        self.0.iter().map(|records| kept(lock(records))).sum()
    }

    /// Adds the guards of this registry to `oldest`, which holds the oldest `most`, oldest first.
    /// It looks at so few records at a time that no guard waits long for the lock.
    pub(crate) fn oldest(&self, now: Timestamp, most: usize, oldest: &mut Vec<Straggler>) {
        const AT_ONCE: usize = 1024;
        for list in &self.0 {
            for first in (0..).step_by(AT_ONCE) {
                let records = lock(list);
                let Some(some) = records.all.get(first..) else {
                    break;
                };
                let alive = (some.iter().take(AT_ONCE))
                    .filter(|record| record.taken() && record.is_at_work());
                // Only what stays in the end is copied.
                let mut found: Vec<(Duration, &Record)> = Vec::new();
                for record in alive {
                    let age = now.since(record.since);
                    let older = oldest.iter().filter(|known| known.age >= age).count();
                    let place = found.partition_point(|(found, _)| *found >= age);
                    if older + place < most {
                        found.insert(place, (age, record));
                        found.truncate(most);
                    }
                }
                oldest.extend(found.iter().map(|(_, record)| record.straggler(now)));
                drop(records);
                oldest.sort_by_key(|straggler| Reverse(straggler.age));
                oldest.truncate(most);
            }
        }
    }

    pub(crate) fn collect(&self, now: Timestamp, into: &mut Vec<Straggler>) {
        for records in &self.0 {
            let records = lock(records);
            let stragglers = records.taken().filter(|record| record.is_at_work());
            into.extend(stragglers.map(|record| record.straggler(now)));
        }
    }
}

/// Whether a connection's guard is at work, and what the record of abandoned work has of it.
// Relaxed throughout: only the task of the connection changes it.
#[derive(Debug)]
pub(crate) struct WorkState(AtomicU8);

impl WorkState {
    const AT_WORK: u8 = 1;
    const UNCOUNTED: u8 = 2;
    const ABANDONED: u8 = 4;

    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(Self::AT_WORK))
    }

    #[inline]
    fn is(&self, flag: u8) -> bool {
        self.0.load(Ordering::Relaxed) & flag != 0
    }

    #[inline]
    fn set(&self, flag: u8, on: bool) {
        let others = self.0.load(Ordering::Relaxed) & !flag;
        let flag = if on { flag } else { 0 };
        self.0.store(others | flag, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_at_work(&self) -> bool {
        self.is(Self::AT_WORK)
    }

    #[inline]
    pub(crate) fn set_at_work(&self, at_work: bool) {
        self.set(Self::AT_WORK, at_work);
    }

    /// Returns whether the record that is made when aborting begins lacks the work, or the last
    /// work of an idle connection.
    pub(crate) fn is_uncounted(&self) -> bool {
        self.is(Self::UNCOUNTED)
    }

    #[inline]
    pub(crate) fn set_uncounted(&self, uncounted: bool) {
        self.set(Self::UNCOUNTED, uncounted);
    }

    /// Returns whether the connection has been recorded as abandoned: it does not work again.
    #[inline]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.is(Self::ABANDONED)
    }

    /// Marks the connection recorded and idle; returns whether it was at work.
    pub(crate) fn abandon(&self) -> bool {
        let at_work = self.is_at_work();
        self.0.store(Self::ABANDONED, Ordering::Relaxed);
        at_work
    }
}

/// What a tracked guard's seat knows: its place in a shard, and where its record is.
pub(crate) struct Entry {
    shard: Arc<Seat>,
    list: usize,
    record: usize,
}

impl Entry {
    #[inline]
    pub(crate) fn shard(&self) -> &Arc<Seat> {
        &self.shard
    }

    pub(crate) fn into_shard(self) -> Arc<Seat> {
        self.shard
    }

    /// Runs `f` on the record, under the lock.
    fn with<T>(&self, f: impl FnOnce(&mut Record) -> T) -> Option<T> {
        let registry = self.shard.node().registry.as_ref()?;
        lock(&registry.0[self.list]).all.get_mut(self.record).map(f)
    }

    pub(crate) fn relabel(&self, label: Cow<'static, str>) {
        let old = self.with(|record| record.label.replace(label));
        drop(old);
    }

    /// Ties the guard to a connection: it is at work only while `work` tells so.
    pub(crate) fn set_work(&self, work: &StdArc<WorkState>) {
        let work = Some(StdArc::clone(work));
        let old = self.with(|record| mem::replace(&mut record.work, work));
        drop(old);
    }

    /// Begins the next work of a connection, whose name `label` writes. If the connection was idle,
    /// its age counts from now.
    ///
    /// The name is written over that of the work before, under the lock: `label` is not user code
    /// (S6).
    pub(crate) fn begin(&self, label: impl FnOnce(&mut String)) {
        self.with(|record| {
            record.resume();
            let mut name = match record.label.take() {
                Some(Cow::Owned(name)) => name,
                _ => String::new(),
            };
            name.clear();
            label(&mut name);
            record.label = Some(name.into());
        });
    }

    pub(crate) fn resume(&self) {
        self.with(Record::resume);
    }

    pub(crate) fn label(&self) -> Option<Cow<'static, str>> {
        self.with(|record| record.label.clone())?
    }

    /// Returns what is known of the guard.
    pub(crate) fn straggler(&self) -> Option<Straggler> {
        let now = Timestamp::now();
        self.with(|record| record.straggler(now))
    }

    /// Returns a seat for a clone of the guard.
    pub(crate) fn further(&self, place: &'static Location<'static>) -> Arc<Seat> {
        let node = self.shard.node();
        let shard = || Some(Arc::clone(&self.shard));
        let seat = (node.registry.as_ref())
            .and_then(|known| known.enter(node, place, self.label(), shard))
            .unwrap_or_else(|| Arc::clone(&self.shard));
        node.created(seat)
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
