//! When a guard was made, for its age: by a clock that costs a fifth of `Instant`'s, where there is one.

// Rustix is in the tree of async-io anyway. It makes its system calls itself, which Miri can't follow.
#[cfg(all(
    feature = "async-io",
    any(target_os = "linux", target_os = "android"),
    not(miri)
))]
#[path = "coarse.rs"]
mod clock;
#[cfg(not(all(
    feature = "async-io",
    any(target_os = "linux", target_os = "android"),
    not(miri)
)))]
#[path = "plain.rs"]
mod clock;

use std::time::Duration;

/// A moment; only the time that has passed since it can be asked for.
#[derive(Clone, Copy)]
pub(crate) struct Stamp(clock::Moment);

impl Stamp {
    /// Now, or up to one tick of the kernel earlier (1 to 10 ms).
    pub(crate) fn lately() -> Self {
        Self(clock::lately())
    }

    pub(crate) fn now() -> Self {
        Self(clock::now())
    }

    /// How much earlier than `self` `earlier` was. A guard's age, asked for by `now` about `lately`, is never too short.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        clock::since(self.0, earlier.0)
    }
}
