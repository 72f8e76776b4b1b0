//! A list of records, and how it gives memory back.
//!
//! Guards wait for the lock of their list. So a reader goes over the records a few at a time; only
//! what happens once, the release and the look, holds the lock throughout. Records whose guards
//! have gone are freed by new guards and by readers, once they are many.

use crate::drain::{
    record::{Record, SeatOwner},
    sync::{Mutex, MutexGuard, lock},
};

/// The records of the guards that the threads of one core took.
pub(super) struct RecordList {
    /// Held by a thread that waits for `records`. A reader, which unlocks them after every step and
    /// locks them again, takes it too: otherwise it would mostly be the first to lock them.
    turn: Mutex<()>,
    records: Mutex<Records>,
}

impl RecordList {
    /// Creates an empty list, `released` if draining has begun.
    pub(super) fn new(released: bool) -> Self {
        Self {
            turn: Mutex::new(()),
            records: Mutex::new(Records {
                released,
                ..Records::default()
            }),
        }
    }

    /// Locks the records, for a moment.
    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Records> {
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

    /// Locks the records, and frees a few of them once they are many.
    #[inline]
    pub(super) fn lock_and_sweep(&self) -> MutexGuard<'_, Records> {
        let records = self.lock();
        if records.all.len() > Records::FEW {
            return self.sweep(records);
        }
        records
    }

    /// Frees a few vacant records, if most are vacant. What ends with them ends without the lock,
    /// which is taken again then.
    #[cold]
    fn sweep<'a>(&'a self, mut locked: MutexGuard<'a, Records>) -> MutexGuard<'a, Records> {
        let mut freed = Vec::new();
        let records = &mut *locked;
        for _ in 0..Records::LOOKS {
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
        self.lock()
    }

    /// Calls `each` for the record of each guard, `Records::STEP` at a time under the lock, and
    /// `before` each step without it.
    pub(super) fn walk<T>(
        &self,
        into: &mut T,
        before: fn(&mut T),
        each: &impl Fn(&mut T, &Record),
    ) {
        self.lock().walks += 1;
        let mut next = 0;
        let mut done = false;
        while !done {
            let mut freed = Vec::new();
            before(into);
            {
                let mut records = self.lock_in_turn();
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

/// What the lock of a [`RecordList`] protects.
#[derive(Default)]
pub(super) struct Records {
    pub(super) all: Vec<Record>,
    /// Where the search for a vacant record begins: the last one that was found or created.
    pub(super) hand: usize,
    /// Where the search for records to free goes on.
    sweep: Sweep,
    /// Set by `release`, once draining has begun.
    pub(super) released: bool,
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

impl Records {
    /// So many are never freed.
    const FEW: usize = 64;
    /// How many records a new guard looks at to find a vacant one, and as many to free some.
    const LOOKS: usize = 4;
    /// How many a reader looks at before it lets others have the lock.
    pub(super) const STEP: usize = 512;

    /// Returns a vacant record near the last one that was found.
    #[inline]
    pub(super) fn vacant(&mut self) -> Option<usize> {
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

    /// Frees a record if it is vacant and most are, unless more than `walks` readers are under way.
    /// Returns whether it was freed: then another one may be in its place.
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
                entry.set_record(index);
            }
        }
        if self.all.len() < self.all.capacity() / 4 {
            self.all.shrink_to(self.all.capacity() / 2);
        }
        true
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::{RecordList, Records};
    use crate::Drain;

    /// To free a record moves another one into its place: none moves past a reader.
    #[test]
    fn a_reader_misses_no_guard_while_records_are_freed() {
        type Reader<'a> = (&'a RecordList, u32, usize);
        let drain = Drain::tracked();
        let mut guards: Vec<_> = (0..4 * Records::STEP)
            .map(|_| drain.guard().unwrap())
            .collect();
        guards.drain(..2 * Records::STEP);
        let registry = drain.node().registry_of_guards().unwrap();
        let lists = (0..drain.node().parts().count()).map(|index| registry.list(index));
        let list = lists.max_by_key(|list| list.lock().all.len()).unwrap();

        // Between two steps, new guards and another reader look for records to free.
        let before = |(list, steps, _): &mut Reader<'_>| {
            *steps += 1;
            if *steps > 1 {
                for _ in 0..Records::STEP {
                    drop(list.lock_and_sweep());
                }
                list.walk(&mut (), |()| (), &|(), _| ());
            }
        };
        let mut reader = (list, 0, 0);
        list.walk(&mut reader, before, &|(_, _, found), _| *found += 1);
        let (_, steps, found) = reader;
        assert!(steps > 2);
        assert_eq!(found, guards.len());
        assert!(
            list.lock().all.len() < 4 * Records::STEP,
            "nothing was freed"
        );
    }
}
