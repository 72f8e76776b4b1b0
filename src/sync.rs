//! The standard library's primitives, or loom's in a model.

#[cfg(not(loom))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard, Weak,
    atomic::{AtomicU8, AtomicUsize, Ordering, fence},
};

#[cfg(loom)]
pub(crate) use self::model::{Arc, Weak};
#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU8, AtomicUsize, Ordering, fence},
};

/// Locks `mutex`. No code of a user's runs under our locks (S6), so a poisoned one is still whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Keeps a value off the cache lines of its neighbours: two lines, since the prefetchers of x86-64 and of
/// large Arm cores fetch pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CachePadded<T>(pub(crate) T);

impl<T> std::ops::Deref for CachePadded<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}
