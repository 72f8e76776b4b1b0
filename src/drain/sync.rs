//! The standard library's primitives or, in a model, those of loom or shuttle.

#[cfg(not(any(loom, shuttle)))]
pub(crate) use std::sync::{
    Arc, Mutex, MutexGuard, OnceLock, Weak,
    atomic::{AtomicU8, AtomicUsize, Ordering, fence},
};

#[cfg(any(loom, shuttle))]
pub(crate) use self::model::{Arc, OnceLock, Weak};
#[cfg(loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU8, AtomicUsize, Ordering, fence},
};
#[cfg(shuttle)]
pub(crate) use shuttle::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU8, AtomicUsize, Ordering, fence},
};

/// Locks `mutex`. No user code runs under our locks (S6), so what a poisoned one protects is still
/// consistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Keeps a value off the cache lines of its neighbours: two lines, since the prefetchers of x86-64
/// and of large Arm cores fetch pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct CachePadded<T>(pub(crate) T);

impl<T> std::ops::Deref for CachePadded<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

/// The standard library's `Arc` and `Weak` with a strong count that the checker sees: the same
/// algorithm with the same orderings. Each strong owner has one std `Arc` that keeps the value, so
/// the last owner drops it. Between a step of the count and the matching step of that `Arc` nothing
/// happens, as the checker sees it. The weak count only frees memory, and is left out.
#[cfg(any(loom, shuttle))]
mod model {
    use std::{ops::Deref, sync};

    use super::{
        AtomicUsize,
        Ordering::{Acquire, Relaxed, Release},
        fence,
    };

    pub(crate) struct Arc<T: ?Sized> {
        /// `None` once this owner has given up its share.
        value: Option<sync::Arc<T>>,
        strong: sync::Arc<AtomicUsize>,
    }

    pub(crate) struct Weak<T: ?Sized> {
        value: sync::Weak<T>,
        /// `None` if it was created without a value.
        strong: Option<sync::Arc<AtomicUsize>>,
    }

    /// The standard library's, of which the checker sees the flag.
    pub(crate) struct OnceLock<T> {
        value: sync::OnceLock<T>,
        /// `None` if it was created with its value.
        set: Option<AtomicUsize>,
    }

    impl<T> From<T> for OnceLock<T> {
        fn from(value: T) -> Self {
            Self {
                value: value.into(),
                set: None,
            }
        }
    }

    impl<T> OnceLock<T> {
        pub(crate) fn new() -> Self {
            Self {
                value: sync::OnceLock::new(),
                set: Some(AtomicUsize::new(0)),
            }
        }

        pub(crate) fn set(&self, value: T) -> Result<(), T> {
            self.value.set(value)?;
            if let Some(set) = &self.set {
                set.store(1, Release);
            }
            Ok(())
        }

        pub(crate) fn get(&self) -> Option<&T> {
            if self.set.as_ref().is_some_and(|set| set.load(Acquire) == 0) {
                return None;
            }
            self.value.get()
        }
    }

    impl<T> Arc<T> {
        pub(crate) fn new(value: T) -> Self {
            Self::first(sync::Arc::new(value))
        }

        pub(crate) fn get_mut(this: &mut Self) -> Option<&mut T> {
            this.value.as_mut().and_then(sync::Arc::get_mut)
        }

        pub(crate) fn into_inner(mut this: Self) -> Option<T> {
            this.release().and_then(sync::Arc::into_inner)
        }
    }

    impl<T: ?Sized> Arc<T> {
        fn first(value: sync::Arc<T>) -> Self {
            Self {
                value: Some(value),
                strong: sync::Arc::new(AtomicUsize::new(1)),
            }
        }

        pub(crate) fn downgrade(this: &Self) -> Weak<T> {
            Weak {
                value: this
                    .value
                    .as_ref()
                    .map_or_else(|| unreachable!(), sync::Arc::downgrade),
                strong: Some(sync::Arc::clone(&this.strong)),
            }
        }

        pub(crate) fn strong_count(this: &Self) -> usize {
            this.strong.load(Relaxed)
        }

        /// Gives up this owner's share; returns the value if it was the last.
        fn release(&mut self) -> Option<sync::Arc<T>> {
            let value = self.value.take()?;
            if self.strong.fetch_sub(1, Release) != 1 {
                return None;
            }
            fence(Acquire);
            Some(value)
        }
    }

    impl<T: ?Sized> Drop for Arc<T> {
        fn drop(&mut self) {
            drop(self.release());
        }
    }

    impl<T: ?Sized> Clone for Arc<T> {
        fn clone(&self) -> Self {
            self.strong.fetch_add(1, Relaxed);
            Self {
                value: self.value.clone(),
                strong: sync::Arc::clone(&self.strong),
            }
        }
    }

    impl<T: ?Sized> Deref for Arc<T> {
        type Target = T;
        fn deref(&self) -> &T {
            self.value
                .as_deref()
                .expect("an owner that is gone is not used")
        }
    }

    impl<T> FromIterator<T> for Arc<[T]> {
        fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
            Self::first(values.into_iter().collect())
        }
    }

    impl<T> Weak<T> {
        pub(crate) const fn new() -> Self {
            Self {
                value: sync::Weak::new(),
                strong: None,
            }
        }
    }

    impl<T: ?Sized> Weak<T> {
        pub(crate) fn upgrade(&self) -> Option<Arc<T>> {
            let count = self.strong.as_ref()?;
            let mut strong = count.load(Relaxed);
            loop {
                if strong == 0 {
                    return None;
                }
                match count.compare_exchange_weak(strong, strong + 1, Acquire, Relaxed) {
                    Ok(_) => break,
                    Err(now) => strong = now,
                }
            }
            Some(Arc {
                value: Some(self.value.upgrade().expect("an owner is left")),
                strong: sync::Arc::clone(count),
            })
        }

        pub(crate) fn strong_count(&self) -> usize {
            self.strong
                .as_ref()
                .map_or(0, |strong| strong.load(Relaxed))
        }
    }
}
