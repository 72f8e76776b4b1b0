//! Models of the real types, for the checkers loom and shuttle.
//!
//! [`Work`] is a guard and the work under it: the model's own count of what is alive, which loom
//! can't interleave with the guard's creation and drop, and a `Relaxed` mark that code which sees
//! drained must find, or an edge is missing (S5).

mod loom;
#[cfg(shuttle)]
mod shuttle;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize as Plain, Ordering::SeqCst},
    },
    task::{Wake, Waker},
};

#[cfg(loom)]
use ::loom::thread::{self, JoinHandle};
#[cfg(shuttle)]
use ::shuttle::thread::{self, JoinHandle};

use super::{
    guard::Guard,
    sync::{AtomicUsize, Ordering::Relaxed},
    thread_index::set_thread_index,
};
use crate::Drain;

/// Explores `model`, and prints how many interleavings there were.
#[cfg(loom)]
fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) {
    let runs = Arc::new(Plain::new(0));
    let counted = Arc::clone(&runs);
    ::loom::model(move || {
        counted.fetch_add(1, SeqCst);
        model();
    });
    println!("{name}: {} interleavings", runs.load(SeqCst));
}

#[cfg(shuttle)]
use self::shuttle::explore;

/// Starts a thread with that index, and so with guards on the shard of it.
pub(crate) fn on(index: usize, act: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::spawn(move || {
        set_thread_index(index);
        act();
    })
}

pub(crate) fn drain(shards: usize) -> Drain {
    Drain::with_shards(shards, false)
}

/// The model's own count of the work: how much is alive, was ever begun, and is done.
#[derive(Clone)]
pub(crate) struct Works(Arc<(Plain, Plain, AtomicUsize)>);

impl Works {
    pub(crate) fn new() -> Self {
        Self(Arc::new((
            Plain::new(0),
            Plain::new(0),
            AtomicUsize::new(0),
        )))
    }

    pub(crate) fn under(&self, guard: Guard) -> Work {
        self.0.0.fetch_add(1, SeqCst);
        self.0.1.fetch_add(1, SeqCst);
        Work {
            guard: Some(guard),
            works: self.clone(),
        }
    }

    pub(crate) fn alive(&self) -> usize {
        self.0.0.load(SeqCst)
    }

    /// S2 S5: checks that nothing is alive, and that all that was done is visible.
    pub(crate) fn check_drained(&self) {
        assert_eq!(self.alive(), 0, "drained while a guard is alive");
        assert_eq!(
            self.0.2.load(Relaxed),
            self.0.1.load(SeqCst),
            "work that is not visible"
        );
    }
}

pub(crate) struct Work {
    pub(crate) guard: Option<Guard>,
    works: Works,
}

impl Drop for Work {
    fn drop(&mut self) {
        self.works.0.2.fetch_add(1, Relaxed);
        self.works.0.0.fetch_sub(1, SeqCst);
        self.guard = None;
    }
}

/// Counts its wakes.
pub(crate) struct Count(Plain);

impl Count {
    pub(crate) fn get(&self) -> usize {
        self.0.load(SeqCst)
    }
}

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

pub(crate) fn counter() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count(Plain::new(0)));
    (Arc::clone(&count), Waker::from(count))
}
