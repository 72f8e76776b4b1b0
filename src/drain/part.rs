//! A part of a node: what the threads of one core write to, when they take guards, wait, or create
//! children. A drain has one per core, a child has one.

use std::sync::{self, Arc as StdArc, atomic};

use slab::Slab;

use crate::drain::{
    details::Details,
    latch::WaitList,
    node::{MOST_SHARDS, Node},
    phase::Phase,
    seat::Seat,
    sync::{Arc, Mutex, OnceLock, Weak, lock},
    tally::Tally,
};

pub(crate) struct Part {
    /// Set once, with `state` locked: by the first guard of a child, and by `new` otherwise.
    seat: OnceLock<Weak<Seat>>,
    /// Set once, with `state` locked: by the first wait of a child, and by `new` otherwise.
    list: OnceLock<sync::Weak<WaitList>>,
    pub(crate) tally: Tally,
    /// E7 E8: locked while aborting begins.
    pub(crate) state: Mutex<State>,
}

/// What a part protects by its lock.
#[derive(Default)]
pub(crate) struct State {
    /// The first `Arc` of the shard. It is dropped once draining has begun and no child is left.
    pub(crate) kept: Option<Arc<Seat>>,
    /// The wait list. It is dropped once the node has drained.
    pub(crate) list: Option<StdArc<WaitList>>,
    /// The children that threads of this core created.
    pub(crate) children: Children,
    /// Set when draining begins: `kept` only waits for the children.
    released: bool,
    /// Set once the shard has ended although it never had a seat: it gets none.
    closed: bool,
    /// Set while the node has a parent and has not drained.
    pub(crate) parent: Option<StdArc<Node>>,
    /// The details of the node, only in its first part. A child has none until it needs them.
    pub(crate) details: Option<Box<Details>>,
}

/// The outcome of giving up the first `Arc` of a shard.
#[must_use = "what has ended is dropped, and its shard ended, without a lock"]
pub(crate) enum Released {
    /// The shard goes on, for the guards or the children that it has.
    Alive,
    /// The last `Arc` was the one that was given up. Its drop ends the shard.
    Seat(Seat),
    /// There never was a seat: the caller ends the shard.
    Empty,
}

impl State {
    /// Gives up `kept`, once draining has begun and no child is left.
    pub(crate) fn give_up_kept(&mut self) -> Released {
        if !self.released || self.closed || !self.children.is_empty() {
            return Released::Alive;
        }
        match self.kept.take() {
            Some(kept) => Seat::give_up(kept).map_or(Released::Alive, Released::Seat),
            // A part that has had a seat, and is not closed, has kept it until here.
            None => {
                self.closed = true;
                Released::Empty
            }
        }
    }

    /// Makes sure that the shard lives as long as its children; returns whether it has not ended.
    pub(crate) fn keep(&mut self, part: &Part) -> bool {
        if self.kept.is_none() {
            match part.seat.get() {
                // Without a seat it lives until it is closed.
                None => return !self.closed,
                Some(seat) => self.kept = seat.upgrade(),
            }
        }
        self.kept.is_some()
    }

    pub(crate) fn is_released(&self) -> bool {
        self.released
    }

    pub(crate) fn release(&mut self) -> Released {
        self.released = true;
        self.give_up_kept()
    }
}

impl Part {
    pub(crate) fn new() -> Self {
        Self {
            seat: OnceLock::new(),
            list: OnceLock::new(),
            tally: Tally::new(),
            state: Mutex::new(State::default()),
        }
    }

    /// Creates the part of a child, so that no lock is taken to tell it its parent.
    pub(crate) fn of_child(parent: &StdArc<Node>) -> Self {
        Self {
            state: Mutex::new(State {
                parent: Some(StdArc::clone(parent)),
                ..State::default()
            }),
            ..Self::new()
        }
    }

    /// Creates a part that has its seat and its wait list.
    pub(crate) fn with(seat: Arc<Seat>, list: StdArc<WaitList>) -> Self {
        Self {
            seat: OnceLock::from(Arc::downgrade(&seat)),
            list: OnceLock::from(StdArc::downgrade(&list)),
            tally: Tally::new(),
            state: Mutex::new(State {
                kept: Some(seat),
                list: Some(list),
                ..State::default()
            }),
        }
    }

    /// Returns a seat, unless the shard has ended or has none yet.
    #[inline]
    pub(crate) fn seat(&self) -> Option<Arc<Seat>> {
        self.seat.get()?.upgrade()
    }

    /// Returns a seat, of which it creates the first, unless the shard has ended. `state` is that
    /// of this part, whose index in `node` is `index`.
    pub(crate) fn seat_in(
        &self,
        state: &mut State,
        node: &StdArc<Node>,
        index: usize,
    ) -> Option<Arc<Seat>> {
        match self.seat.get() {
            Some(seat) => seat.upgrade(),
            None if state.closed => None,
            None => {
                let seat = Arc::new(Seat::shard(node, index));
                let _ = self.seat.set(Arc::downgrade(&seat));
                // If it has been released and is not closed, it has children.
                state.kept = Some(Arc::clone(&seat));
                Some(seat)
            }
        }
    }

    /// Returns a seat as `seat_in` does, without the lock if there is one.
    pub(crate) fn any_seat(&self, node: &StdArc<Node>, index: usize) -> Option<Arc<Seat>> {
        match self.seat.get() {
            Some(seat) => seat.upgrade(),
            None => self.seat_in(&mut lock(&self.state), node, index),
        }
    }

    /// Returns the wait list, unless there is none yet or the node has drained.
    #[inline]
    pub(crate) fn list(&self) -> Option<StdArc<WaitList>> {
        self.list.get()?.upgrade()
    }

    /// Returns the wait list, which it creates if there is none, unless the node has drained.
    pub(crate) fn list_in(
        &self,
        state: &mut State,
        node: &StdArc<Node>,
    ) -> Option<StdArc<WaitList>> {
        // E2: a thread that raises to drained looks for the list after that.
        if state.list.is_none() && !node.latch.is(Phase::Drained) {
            let list = StdArc::new(WaitList::new(node));
            let _ = self.list.set(StdArc::downgrade(&list));
            state.list = Some(list);
        }
        state.list.clone()
    }

    /// Returns how many guards are alive in this part, less those in seats that the registry keeps.
    pub(crate) fn count(&self) -> isize {
        let state = lock(&self.state);
        self.tally.count(|| self.owners(&state))
    }

    /// Like [`count`](Self::count), but exact (E7 E8). A shard that ends by this is added
    /// to `ended`.
    pub(crate) fn look(&self, state: &State, ended: &mut Vec<Seat>) -> isize {
        self.tally.look(|| {
            if let Some(seat) = self.seat() {
                // E7: the decrement releases, pairs with the upgrade in `seat`.
                ended.extend(Seat::give_up(seat));
            }
            self.owners(state)
        })
    }

    /// Returns how many `Arc`s of the shard there are besides the kept one.
    fn owners(&self, state: &State) -> usize {
        let all = self.seat.get().map_or(0, Weak::strong_count);
        all - usize::from(state.kept.is_some())
    }
}

/// The children of a part, each of which knows its key.
#[derive(Default)]
pub(crate) struct Children {
    nodes: Option<Box<Slab<StdArc<Node>>>>,
    /// How many walks are under way: none must miss a child because it moves.
    walks: u32,
}

/// Where a parent lists a child: the index of the part, and the place among the children of that.
// Relaxed throughout: the lock of the part orders it, so models don't see it.
pub(crate) struct Key(atomic::AtomicUsize);

impl Key {
    pub(crate) fn new() -> Self {
        Self(atomic::AtomicUsize::new(0))
    }

    fn set(&self, part: usize, place: usize) {
        let key = place * MOST_SHARDS + part;
        self.0.store(key, atomic::Ordering::Relaxed);
    }

    pub(crate) fn part(&self) -> usize {
        self.0.load(atomic::Ordering::Relaxed) % MOST_SHARDS
    }

    fn place(&self) -> usize {
        self.0.load(atomic::Ordering::Relaxed) / MOST_SHARDS
    }
}

impl Children {
    const FEW: usize = 64;
    const STEP: usize = 256;

    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.is_empty())
    }

    /// Adds `child` to these children of the part with that index.
    pub(crate) fn insert(&mut self, child: StdArc<Node>, part: usize) {
        let vacant = self.nodes.get_or_insert_default().vacant_entry();
        child.key.set(part, vacant.key());
        vacant.insert(child);
    }

    /// Removes `child`, and gives memory back if few are left of many.
    pub(crate) fn remove(&mut self, child: &Node) -> Option<StdArc<Node>> {
        let nodes = self.nodes.as_mut()?;
        let key = child.key.place();
        let removed = nodes.try_remove(key);
        if nodes.capacity() > Self::FEW && nodes.len() < nodes.capacity() / 4 && self.walks == 0 {
            nodes.compact(|child, _, to| {
                child.key.set(child.key.part(), to);
                true
            });
        }
        removed
    }
}

impl Part {
    /// Appends all children to `into`. It holds the lock only for a few at a time.
    pub(crate) fn children(&self, into: &mut Vec<StdArc<Node>>) {
        let mut from = 0;
        loop {
            let children = &mut lock(&self.state).children;
            let Some(nodes) = &children.nodes else {
                return;
            };
            let end = nodes.capacity().min(from + Children::STEP);
            into.extend((from..end).filter_map(|key| nodes.get(key).cloned()));
            let (first, last) = (from == 0, end == nodes.capacity());
            match (first, last) {
                (true, false) => children.walks += 1,
                (false, true) => children.walks -= 1,
                _ => {}
            }
            if last {
                return;
            }
            from = end;
        }
    }
}
