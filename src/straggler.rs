//! Who is still here: label, place and age of each guard, where the drain tracks them.

use std::{
    borrow::Cow,
    fmt,
    panic::Location,
    time::{Duration, Instant},
};

use slab::Slab;

use crate::{
    sync::{Arc, CachePadded, Mutex, lock},
    tally::{self, Seat},
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
    /// How long ago it was made.
    pub age: Duration,
}

impl fmt::Display for Straggler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let label = self.label.as_deref().unwrap_or("unlabeled");
        write!(f, "{label}, for {:.1?}, from {}", self.age, self.place)
    }
}

/// The guards that were alive at one moment, oldest first.
///
/// [`count`](Self::count) is known in every drain; the guards themselves only where they are tracked.
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

    pub(crate) fn of(core: &Core) -> Self {
        let now = Instant::now();
        let mut known = Vec::new();
        core.for_each(|core| {
            if let Some(registry) = &core.registry {
                registry.collect(now, &mut known);
            }
        });
        known.sort_by_key(|straggler| std::cmp::Reverse(straggler.age));
        Self {
            // Guards come and go while we look.
            count: core.in_flight().max(known.len()),
            known,
        }
    }

    /// How many guards were alive, tracked or not.
    #[must_use]
    pub fn count(&self) -> usize {
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
    /// One line for each tracked guard, and one for the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut newline = "";
        for straggler in &self.known {
            write!(f, "{newline}still in flight: {straggler}")?;
            newline = "\n";
        }
        match self.count - self.known.len() {
            0 => Ok(()),
            n => write!(f, "{newline}still in flight: {n} untracked"),
        }
    }
}

/// The tracked guards of a drain, in as many lists as it has shards.
pub(crate) struct Registry(Box<[Stripe]>);

type Stripe = CachePadded<Mutex<Slab<Entry>>>;

struct Entry {
    label: Option<Cow<'static, str>>,
    place: &'static Location<'static>,
    /// `None`: at rest, and no straggler.
    since: Option<Instant>,
}

impl Registry {
    pub(crate) fn new(stripes: usize) -> Self {
        Self(
            (0..stripes)
                .map(|_| CachePadded(Mutex::new(Slab::new())))
                .collect(),
        )
    }

    fn insert(&self, place: &'static Location<'static>, label: Option<Cow<'static, str>>) -> Key {
        let since = Some(Instant::now());
        let stripe = tally::slot() & (self.0.len() - 1);
        let entry = lock(&self.0[stripe]).insert(Entry {
            label,
            place,
            since,
        });
        Key { stripe, entry }
    }

    fn remove(&self, key: Key) {
        let entry = lock(&self.0[key.stripe]).try_remove(key.entry);
        drop(entry);
    }

    fn collect(&self, now: Instant, into: &mut Vec<Straggler>) {
        for stripe in &self.0 {
            into.extend(lock(stripe).iter().filter_map(|(_, entry)| {
                Some(Straggler {
                    label: entry.label.clone(),
                    place: entry.place,
                    age: now.saturating_duration_since(entry.since?),
                })
            }));
        }
    }
}

#[derive(Clone, Copy)]
struct Key {
    stripe: usize,
    entry: usize,
}

/// A tracked guard: its seat in a shard and its entry in the registry.
pub(crate) struct Ticket {
    shard: Arc<Seat>,
    key: Key,
}

impl Ticket {
    /// Enters the owner of `shard`; only for drains that have a registry.
    pub(crate) fn new(
        shard: Arc<Seat>,
        place: &'static Location<'static>,
        label: Option<Cow<'static, str>>,
    ) -> Result<Self, Arc<Seat>> {
        let Some(key) = (shard.core().registry.as_ref()).map(|known| known.insert(place, label))
        else {
            return Err(shard);
        };
        Ok(Self { shard, key })
    }

    pub(crate) fn shard(&self) -> &Arc<Seat> {
        &self.shard
    }

    fn registry(&self) -> Option<&Registry> {
        self.shard.core().registry.as_ref()
    }

    pub(crate) fn relabel(&self, label: Cow<'static, str>) {
        if let Some(registry) = self.registry() {
            let mut entries = lock(&registry.0[self.key.stripe]);
            let old = entries
                .get_mut(self.key.entry)
                .and_then(|entry| entry.label.replace(label));
            drop(entries);
            drop(old);
        }
    }

    #[cfg(feature = "net")]
    pub(crate) fn rest(&self) {
        self.set_since(None);
    }

    #[cfg(feature = "net")]
    pub(crate) fn resume(&self) {
        self.set_since(Some(Instant::now()));
    }

    #[cfg(feature = "net")]
    fn set_since(&self, since: Option<Instant>) {
        let Some(registry) = self.registry() else {
            return;
        };
        if let Some(entry) = lock(&registry.0[self.key.stripe]).get_mut(self.key.entry) {
            entry.since = since;
        }
    }

    pub(crate) fn label(&self) -> Option<Cow<'static, str>> {
        let registry = self.registry()?;
        let label = lock(&registry.0[self.key.stripe])
            .get(self.key.entry)?
            .label
            .clone();
        label
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(registry) = self.registry() {
            registry.remove(self.key);
        }
    }
}
