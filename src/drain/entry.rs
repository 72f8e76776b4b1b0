use std::{
    borrow::Cow,
    mem,
    panic::Location,
    sync::{
        Arc as StdArc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    clock::Timestamp,
    drain::{record::Record, seat::Seat, sync::Arc, work_state::WorkState},
    report::Straggler,
};

/// What a tracked guard's seat knows: its place in a shard, and where its record is.
pub(crate) struct Entry {
    shard: Arc<Seat>,
    /// The index of the registry's list that has the record.
    list: usize,
    /// The index of the record in that list. Changed under the lock of the list.
    // Relaxed, for that reason.
    record: AtomicUsize,
}

impl Entry {
    /// Creates the entry of a guard in `shard`, whose record has these indices.
    pub(super) fn new(shard: Arc<Seat>, list: usize, record: usize) -> Self {
        Self {
            shard,
            list,
            record: AtomicUsize::new(record),
        }
    }

    /// Notes that the record has moved in its list, which is locked.
    pub(super) fn set_record(&self, record: usize) {
        self.record.store(record, Ordering::Relaxed);
    }

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

    /// Ties the guard to a connection: it is at work only while `work` says so.
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
