//! Who is still here: label, place and age of each guard, where the drain tracks them.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt, mem,
    panic::Location,
    sync::{
        Arc as StdArc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use crate::{
    stamp::Stamp,
    sync::{Arc, CachePadded, Mutex, Weak, lock},
    tally::{self, Seat, Tally},
    tree::Core,
};

/// A guard that is still alive.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Straggler {
    /// What [`Guard::labeled`](crate::Guard::labeled) said of it.
    pub label: Option<Cow<'static, str>>,
    /// Where in the source the guard was made.
    pub place: &'static Location<'static>,
    /// How long ago it was made: never too short, and too long by 10 ms at most.
    pub age: Duration,
}

impl fmt::Display for Straggler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.label.as_deref().unwrap_or("unlabeled");
        write!(f, "{label}, for {:.1?}, from {}", self.age, self.place)
    }
}

/// The guards that were alive at one moment, oldest first; those made within 10 ms of each other in no order.
///
/// [`total`](Self::total) is known in every drain; the guards themselves only where they are tracked.
#[derive(Clone, Debug, Default)]
pub struct Stragglers {
    known: Vec<Straggler>,
    count: usize,
}

impl Stragglers {
    pub(crate) const fn none() -> Self {
        Self {
            known: Vec::new(),
            count: 0,
        }
    }

    /// So many, of which some are `known`.
    pub(crate) fn new(count: usize, known: Vec<Straggler>) -> Self {
        // Guards come and go while we look.
        let count = count.max(known.len());
        Self { known, count }
    }

    pub(crate) fn of(core: &Core) -> Self {
        let now = Stamp::now();
        let mut known = Vec::new();
        core.for_each(|core| {
            if let Some(registry) = &core.registry {
                registry.collect(now, &mut known);
            }
        });
        let mut stragglers = Self::new(core.in_flight(), known);
        stragglers.sort();
        stragglers
    }

    /// All of both, in no order.
    pub(crate) fn append(&mut self, others: Self) {
        self.count += others.count;
        self.known.extend(others.known);
    }

    /// Oldest first.
    pub(crate) fn sort(&mut self) {
        (self.known).sort_by_key(|straggler| std::cmp::Reverse(straggler.age));
    }

    /// How many guards were alive, tracked or not.
    #[must_use]
    pub fn total(&self) -> usize {
        self.count
    }

    /// The tracked guards, oldest first.
    pub fn iter(&self) -> std::slice::Iter<'_, Straggler> {
        self.known.iter()
    }
}

impl<'a> IntoIterator for &'a Stragglers {
    type Item = &'a Straggler;
    type IntoIter = std::slice::Iter<'a, Straggler>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Stragglers {
    /// One line for each tracked guard and one for the rest; if these are more than 20, one for each label and place.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, MOST_LINES)
    }
}

/// Enough to see what is wrong, and few enough to be read.
pub(crate) const MOST_LINES: usize = 20;

/// Stragglers of one label, from one place.
struct Group<'a> {
    oldest: &'a Straggler,
    count: usize,
}

impl Stragglers {
    /// At most so many lines, the last one without its end.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, most: usize) -> fmt::Result {
        let untracked = self.count - self.known.len();
        let most = most - usize::from(untracked > 0);
        let mut newline = "";
        let mut shown = 0;
        for Group { oldest, count } in self.groups(most) {
            shown += count;
            write!(f, "{newline}still in flight: ")?;
            newline = "\n";
            if count == 1 {
                write!(f, "{oldest}")?;
                continue;
            }
            let label = oldest.label.as_deref().unwrap_or("unlabeled");
            write!(
                f,
                "{label} ×{}, oldest {:.1?}, from {}",
                Thousands(count),
                oldest.age,
                oldest.place
            )?;
        }
        if shown < self.known.len() {
            let others = Thousands(self.known.len() - shown);
            write!(f, "{newline}still in flight: {others} others")?;
            newline = "\n";
        }
        match untracked {
            0 => Ok(()),
            n => write!(f, "{newline}still in flight: {} untracked", Thousands(n)),
        }
    }

    /// The known ones, oldest first: each by itself, or if these are more than `most`, by label and place. If the groups
    /// are too many as well, the first `most - 1`.
    fn groups(&self, most: usize) -> Vec<Group<'_>> {
        if self.known.len() <= most {
            let alone = self.known.iter();
            return alone.map(|oldest| Group { oldest, count: 1 }).collect();
        }
        let mut groups: Vec<Group<'_>> = Vec::new();
        let mut found = HashMap::new();
        for straggler in &self.known {
            let group = *found
                .entry((straggler.label.as_deref(), straggler.place))
                .or_insert_with(|| {
                    groups.push(Group {
                        oldest: straggler,
                        count: 0,
                    });
                    groups.len() - 1
                });
            groups[group].count += 1;
        }
        if groups.len() > most {
            groups.truncate(most - 1);
        }
        groups
    }
}

/// A number with a comma after each thousand.
struct Thousands(usize);

impl fmt::Display for Thousands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number) = *self;
        if number < 1000 {
            return write!(f, "{number}");
        }
        write!(f, "{},{:03}", Self(number / 1000), number % 1000)
    }
}

/// The tracked guards of a drain, at as many desks as it has shards.
///
/// While the drain runs, a desk keeps the first `Arc` of each seat as the core keeps that of each shard, so that a seat
/// is free for the next guard when nobody else owns it, and leaving one takes no lock. To begin is to drop
/// those `Arc`s: from then on a seat ends with its guard, and gives up its place in a shard.
pub(crate) struct Registry(Box<[CachePadded<Mutex<Desk>>]>);

struct Desk {
    records: Vec<Record>,
    /// Records that were found vacant and have not been taken since.
    vacant: Vec<usize>,
    /// Look for vacant records only when there are this many: twice the guards that the last look found alive,
    /// so that looking costs each guard only a few steps, and the records are bounded by the guards.
    look_at: usize,
    /// Whether draining has begun.
    released: bool,
}

/// A seat, and what is known of the guard in it or of the last that was.
struct Record {
    seat: Hold,
    label: Option<Cow<'static, str>>,
    place: &'static Location<'static>,
    since: Stamp,
    /// Of a guard that is at work only at times: a straggler then, and only then.
    work: Option<StdArc<Work>>,
}

enum Hold {
    Kept(Arc<Seat>),
    Released(Weak<Seat>),
}

impl Record {
    /// Whether a guard is in the seat.
    fn taken(&self) -> bool {
        match &self.seat {
            Hold::Kept(seat) => Arc::strong_count(seat) > 1,
            Hold::Released(seat) => seat.strong_count() > 0,
        }
    }

    /// Its age is that of the work.
    #[cfg(feature = "net")]
    fn resume(&mut self) {
        if let Some(work) = &self.work {
            if !work.is_on() {
                self.since = Stamp::lately();
                work.set_on(true);
            }
        }
    }

    fn straggler(&self, now: Stamp) -> Straggler {
        Straggler {
            label: self.label.clone(),
            place: self.place,
            age: now.since(self.since),
        }
    }

    fn is_at_work(&self) -> bool {
        // Relaxed: it is set under the lock, by which we see the time as well; that it is cleared we may see late.
        self.work.as_ref().is_none_or(|work| work.is_on())
    }
}

impl Desk {
    const FEW: usize = 4;

    fn new() -> Self {
        Self {
            records: Vec::new(),
            vacant: Vec::new(),
            look_at: Self::FEW,
            released: false,
        }
    }

    fn vacant(&mut self) -> Option<usize> {
        if self.vacant.is_empty() && self.records.len() >= self.look_at {
            let records = self.records.iter().enumerate();
            let vacant = records.filter(|(_, record)| !record.taken());
            self.vacant.extend(vacant.map(|(index, _)| index));
            self.look_at = Self::FEW.max(2 * (self.records.len() - self.vacant.len()));
        }
        self.vacant.pop()
    }

    fn taken(&self) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(|record| record.taken())
    }
}

impl Registry {
    pub(crate) fn new(desks: usize) -> Self {
        Self(
            (0..desks)
                .map(|_| CachePadded(Mutex::new(Desk::new())))
                .collect(),
        )
    }

    /// A seat for a guard of `core`, which has this registry; `None` if one is needed and `shard` has none.
    pub(crate) fn enter(
        &self,
        core: &Core,
        place: &'static Location<'static>,
        label: Option<Cow<'static, str>>,
        shard: impl FnOnce() -> Option<Arc<Seat>>,
    ) -> Option<Arc<Seat>> {
        let since = Stamp::lately();
        let number = tally::slot() & (self.0.len() - 1);
        let mut guard = lock(&self.0[number]);
        let desk = &mut *guard;
        let vacant = desk.vacant();
        if let Some(record) = vacant.map(|index| &mut desk.records[index]) {
            if let Hold::Kept(seat) = &record.seat {
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

        let index = vacant.unwrap_or(desk.records.len());
        let seat = Seat::tracked(Ticket {
            shard: shard()?,
            desk: number,
            record: index,
        });
        let record = Record {
            seat: if desk.released {
                Hold::Released(Arc::downgrade(&seat))
            } else {
                core.tally.add_hold();
                Hold::Kept(Arc::clone(&seat))
            },
            label,
            place,
            since,
            work: None,
        };
        let old = if let Some(vacant) = desk.records.get_mut(index) {
            Some(mem::replace(vacant, record))
        } else {
            desk.records.push(record);
            None
        };
        drop(guard);
        drop(old);
        Some(seat)
    }

    /// Gives up the kept `Arc`s; `tally` is that of the core, whose state is locked. What has ended is put with the `ended`.
    pub(crate) fn release(&self, tally: &Tally, ended: &mut Vec<Seat>) {
        for desk in &self.0 {
            let mut desk = lock(desk);
            desk.released = true;
            for record in &mut desk.records {
                if let Hold::Kept(seat) = &record.seat {
                    // From here on the shards count the guard in it.
                    tally.forgo_hold();
                    let released = Hold::Released(Arc::downgrade(seat));
                    if let Hold::Kept(seat) = mem::replace(&mut record.seat, released) {
                        ended.extend(Seat::give_up(seat));
                    }
                }
            }
        }
    }

    /// How many guards are in seats that are kept, and so not counted by the shards.
    pub(crate) fn count_kept(&self) -> usize {
        let kept = |record: &&Record| matches!(record.seat, Hold::Kept(_));
        let desks = self.0.iter();
        desks
            .map(|desk| lock(desk).taken().filter(kept).count())
            .sum()
    }

    pub(crate) fn collect(&self, now: Stamp, into: &mut Vec<Straggler>) {
        for desk in &self.0 {
            let desk = lock(desk);
            let stragglers = desk.taken().filter(|record| record.is_at_work());
            into.extend(stragglers.map(|record| record.straggler(now)));
        }
    }
}

/// What is known of a guard that is at work only at times, to all who ask.
// Relaxed throughout: whoever changes it does so in the task of the connection.
#[derive(Debug)]
pub(crate) struct Work(AtomicU8);

#[cfg_attr(
    not(feature = "net"),
    expect(dead_code, reason = "only connections rest")
)]
impl Work {
    const ON: u8 = 1;
    const UNCOUNTED: u8 = 2;
    const ABANDONED: u8 = 4;

    pub(crate) fn new() -> Self {
        Self(AtomicU8::new(Self::ON))
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

    /// Whether the guard is at work.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is(Self::ON)
    }

    #[inline]
    pub(crate) fn set_on(&self, on: bool) {
        self.set(Self::ON, on);
    }

    /// Whether the record that is taken when aborting begins lacks the work, or the last one of an idle guard.
    pub(crate) fn is_uncounted(&self) -> bool {
        self.is(Self::UNCOUNTED)
    }

    #[inline]
    pub(crate) fn set_uncounted(&self, uncounted: bool) {
        self.set(Self::UNCOUNTED, uncounted);
    }

    /// Whether the guard has been recorded as abandoned: it will not work again.
    #[inline]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.is(Self::ABANDONED)
    }

    /// Marks the guard as recorded and at rest; returns whether it was at work.
    pub(crate) fn abandon(&self) -> bool {
        let on = self.is_on();
        self.0.store(Self::ABANDONED, Ordering::Relaxed);
        on
    }
}

/// What a tracked guard's seat knows: its place in a shard, and where its record is.
pub(crate) struct Ticket {
    shard: Arc<Seat>,
    desk: usize,
    record: usize,
}

impl Ticket {
    #[inline]
    pub(crate) fn shard(&self) -> &Arc<Seat> {
        &self.shard
    }

    pub(crate) fn into_shard(self) -> Arc<Seat> {
        self.shard
    }

    /// Runs `f` on the record, under the lock.
    fn with<T>(&self, f: impl FnOnce(&mut Record) -> T) -> Option<T> {
        let registry = self.shard.core().registry.as_ref()?;
        lock(&registry.0[self.desk])
            .records
            .get_mut(self.record)
            .map(f)
    }

    pub(crate) fn relabel(&self, label: Cow<'static, str>) {
        let old = self.with(|record| record.label.replace(label));
        drop(old);
    }

    /// The guard is at work only while `work` says so.
    #[cfg(feature = "net")]
    pub(crate) fn stand_by(&self, work: &StdArc<Work>) {
        let work = Some(StdArc::clone(work));
        let old = self.with(|record| mem::replace(&mut record.work, work));
        drop(old);
    }

    /// The guard's next work: `label` writes what it is called, and it counts from now on if it has rested.
    ///
    /// Into the string of the work before, under the lock: `label` is no code of a user's (S6).
    #[cfg(feature = "hyper")]
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

    #[cfg(feature = "net")]
    pub(crate) fn resume(&self) {
        self.with(Record::resume);
    }

    pub(crate) fn label(&self) -> Option<Cow<'static, str>> {
        self.with(|record| record.label.clone())?
    }

    /// What is known of the guard.
    #[cfg(any(feature = "net", all(test, any(loom, shuttle))))]
    pub(crate) fn straggler(&self) -> Option<Straggler> {
        let now = Stamp::now();
        self.with(|record| record.straggler(now))
    }

    /// A seat for a clone of the guard.
    pub(crate) fn further(&self, place: &'static Location<'static>) -> Arc<Seat> {
        let core = self.shard.core();
        let shard = || Some(Arc::clone(&self.shard));
        let seat = (core.registry.as_ref())
            .and_then(|known| known.enter(core, place, self.label(), shard))
            .unwrap_or_else(|| Arc::clone(&self.shard));
        core.created(seat)
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

    /// S2 S3: tracked guards that were made before, during and after the beginning.
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
