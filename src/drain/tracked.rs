//! The registry: label, place and age of each guard, for a drain that tracks them.
//!
//! While the drain runs, the registry keeps the first `Arc` of each seat, as the node keeps that of
//! each shard. So a seat without another owner is free for the next guard, and dropping a guard
//! takes no lock. Beginning the drain drops those `Arc`s: from then on a seat ends with its guard,
//! and gives up its place in a shard.
//!
//! Nothing looks at all records with their list locked, since guards wait for that lock: a reader
//! goes over them a few at a time. Records whose guards have gone are freed by new guards and by
//! readers, once they are many.

use std::{
    borrow::Cow,
    mem,
    panic::Location,
    sync::{
        Arc as StdArc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
};

use crate::{
    clock::Timestamp,
    drain::{
        node::Node,
        seat::Seat,
        sync::{Arc, CachePadded, Mutex, MutexGuard, Weak, lock},
        thread_index::thread_index,
    },
    report::Straggler,
};

/// The tracked guards of a drain, in as many lists as it has parts.
pub(crate) struct Registry {
    /// The list of a child.
    own: List,
    /// The lists of a drain that is not a child.
    several: Box<[CachePadded<List>]>,
}

/// The records of the guards that the threads of one core took.
struct List {
    /// Held by a thread that waits for `records`. A reader, which unlocks them after every step and
    /// locks them again, takes it too: otherwise it would mostly be the first to lock them.
    turn: Mutex<()>,
    records: Mutex<Records>,
}

impl List {
    /// Locks the records, for a moment.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, Records> {
        match self.records.try_lock() {
            Ok(records) => records,
            Err(_) => self.lock_in_turn(),
        }
    }

    /// Locks the records once a thread that waits for them has had them.
    #[cold]
    fn lock_in_turn(&self) -> MutexGuard<'_, Records> {
        let _turn = lock(&self.turn);
        lock(&self.records)
    }
}

#[derive(Default)]
struct Records {
    all: Vec<Record>,
    /// Where the search for a vacant record begins: the last one that was found or created.
    hand: usize,
    /// Where the search for records to free goes on.
    sweep: Sweep,
    /// Set by `release`, once draining has begun.
    released: bool,
    /// How many readers are going over the records: none must miss one because it moves.
    walks: u32,
}

/// Tells whether most of the records are vacant, by the last few that were looked at.
#[derive(Default)]
struct Sweep {
    next: usize,
    seen: u32,
    vacant: u32,
    /// Set if most of the last `SAMPLE` were vacant: such records are freed.
    sparse: bool,
}

impl Sweep {
    const SAMPLE: u32 = 64;

    /// Notes a record; returns whether to free it if it is vacant.
    fn see(&mut self, vacant: bool) -> bool {
        self.seen += 1;
        self.vacant += u32::from(vacant);
        if self.seen == Self::SAMPLE {
            self.sparse = self.vacant >= Self::SAMPLE / 4 * 3;
            (self.seen, self.vacant) = (0, 0);
        }
        vacant && self.sparse
    }
}

/// The label, place and time of a new guard.
type Known = (
    Option<Cow<'static, str>>,
    &'static Location<'static>,
    Timestamp,
);

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

    fn is_kept(&self) -> bool {
        matches!(self.seat, SeatOwner::Kept(_))
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

    /// Ends the presence of the seat, which is vacant.
    fn free(self) {
        if let SeatOwner::Kept(seat) = self.seat {
            Node::end_presence(seat);
        }
    }
}

impl Records {
    /// So many are never freed.
    const FEW: usize = 64;
    /// How many records a new guard looks at to find a vacant one, and as many to free some.
    const LOOKS: usize = 4;
    /// How many a reader looks at before it lets others have the lock.
    const STEP: usize = 512;

    /// Returns a vacant record near the last one that was found.
    fn vacant(&mut self) -> Option<usize> {
        for _ in 0..Self::LOOKS.min(self.all.len()) {
            if self.hand >= self.all.len() {
                self.hand = 0;
            }
            if !self.all[self.hand].taken() {
                return Some(self.hand);
            }
            self.hand += 1;
        }
        None
    }

    /// Frees a few vacant records, if most are vacant. What ends with them ends without the lock,
    /// which is taken again then.
    #[cold]
    fn sweep<'a>(list: &'a List, mut locked: MutexGuard<'a, Self>) -> MutexGuard<'a, Self> {
        let mut freed = Vec::new();
        let records = &mut *locked;
        for _ in 0..Self::LOOKS {
            if records.sweep.next >= records.all.len() {
                records.sweep.next = 0;
            }
            records.look_at(records.sweep.next, 0, &mut freed);
            records.sweep.next += 1;
        }
        if freed.is_empty() {
            return locked;
        }
        drop(locked);
        freed.into_iter().for_each(Record::free);
        list.lock()
    }

    /// Looks whether a record is vacant, and frees it if most are, unless more than so many `walks`
    /// are under way. Returns whether it was freed: then another one may be in its place.
    fn look_at(&mut self, index: usize, walks: u32, freed: &mut Vec<Record>) -> bool {
        let Some(record) = self.all.get(index) else {
            return false;
        };
        let free = self.sweep.see(!record.taken());
        if !free || self.released || self.walks > walks || self.all.len() <= Self::FEW {
            return false;
        }
        freed.push(self.all.swap_remove(index));
        if let Some(SeatOwner::Kept(moved)) = self.all.get(index).map(|record| &record.seat) {
            if let Some(entry) = moved.entry() {
                entry.record.store(index, Ordering::Relaxed);
            }
        }
        if self.all.len() < self.all.capacity() / 4 {
            self.all.shrink_to(self.all.capacity() / 2);
        }
        true
    }
}

impl Registry {
    /// Creates the registry of a node with so many parts, `released` if draining has begun.
    pub(crate) fn new(several: usize, released: bool) -> Self {
        let list = || List {
            turn: Mutex::new(()),
            records: Mutex::new(Records {
                released,
                ..Records::default()
            }),
        };
        Self {
            own: list(),
            several: (0..several).map(|_| CachePadded(list())).collect(),
        }
    }

    fn list(&self, index: usize) -> &List {
        self.several.get(index).map_or(&self.own, |list| &list.0)
    }

    fn lists(&self) -> impl Iterator<Item = &List> {
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
        let mut records = list.lock();
        if records.all.len() > Records::FEW {
            records = Records::sweep(list, records);
        }
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
        list: &List,
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
        let seat = Arc::new(Seat::tracked(Entry {
            shard,
            list: index,
            record: AtomicUsize::new(record),
        }));
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

    /// Drops the kept `Arc`s of `node`, whose states are locked. What has ended is put with the
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
    /// known of all that are at work: exactly, with the lists locked.
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

    /// Calls `each` for the record of each guard, `Records::STEP` at a time under a lock, and
    /// `before` each step without it.
    fn for_each<T>(&self, into: &mut T, before: fn(&mut T), each: impl Fn(&mut T, &Record)) {
        for list in self.lists() {
            list.lock().walks += 1;
            let mut next = 0;
            let mut done = false;
            while !done {
                let mut freed = Vec::new();
                before(into);
                {
                    let mut records = list.lock_in_turn();
                    for _ in 0..Records::STEP {
                        let Some(record) = records.all.get(next) else {
                            records.walks -= 1;
                            done = true;
                            break;
                        };
                        if record.taken() {
                            each(into, record);
                        }
                        if !records.look_at(next, 1, &mut freed) {
                            next += 1;
                        }
                    }
                }
                freed.into_iter().for_each(Record::free);
            }
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
        let kept = |list: &List| {
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

/// Whether a connection's guard is at work, and what the record of abandoned work has of it.
// Relaxed throughout: only the task of the connection changes it.
#[derive(Debug)]
pub(crate) struct WorkState {
    flags: AtomicU8,
    /// The index of the part that its guard is in.
    part: usize,
}

impl WorkState {
    const AT_WORK: u8 = 1;
    const UNCOUNTED: u8 = 2;
    const ABANDONED: u8 = 4;

    /// Creates the state of a connection whose guard is in that part.
    pub(crate) fn new(part: usize) -> Self {
        Self {
            flags: AtomicU8::new(Self::AT_WORK),
            part,
        }
    }

    #[inline]
    pub(crate) fn part(&self) -> usize {
        self.part
    }

    #[inline]
    fn is(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    #[inline]
    fn set(&self, flag: u8, on: bool) {
        let others = self.flags.load(Ordering::Relaxed) & !flag;
        let flag = if on { flag } else { 0 };
        self.flags.store(others | flag, Ordering::Relaxed);
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

    /// Marks the connection recorded and idle; returns its part if it was at work.
    pub(crate) fn abandon(&self) -> Option<usize> {
        let at_work = self.is_at_work();
        self.flags.store(Self::ABANDONED, Ordering::Relaxed);
        at_work.then_some(self.part)
    }
}

/// What a tracked guard's seat knows: its place in a shard, and where its record is.
pub(crate) struct Entry {
    shard: Arc<Seat>,
    list: usize,
    /// Changed under the lock of the list.
    // Relaxed, for that reason.
    record: AtomicUsize,
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
        let registry = self.shard.node().registry_of_guards()?;
        let mut records = registry.list(self.list).lock();
        let record = self.record.load(Ordering::Relaxed);
        records.all.get_mut(record).map(f)
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
        let seat = (node.registry_of_guards())
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
