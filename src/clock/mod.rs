//! The clock by which ages of guards are measured: on Linux and Android one that is read in a
//! quarter of `Instant`'s time (`docs/decisions/coarse-clock.md`).

// rustix is a dependency of async-io anyway. It makes its system calls itself, which Miri can't
// follow.
#[cfg(all(
    feature = "async-io",
    any(target_os = "linux", target_os = "android"),
    not(miri)
))]
#[path = "coarse.rs"]
mod source;
#[cfg(not(all(
    feature = "async-io",
    any(target_os = "linux", target_os = "android"),
    not(miri)
)))]
#[path = "plain.rs"]
mod source;

use std::time::Duration;

/// A point in time, of which only the time that has passed since can be asked for.
#[derive(Clone, Copy)]
pub(crate) struct Timestamp(source::Moment);

impl Timestamp {
    /// Returns the present, or up to one tick of the kernel earlier (1 to 10 ms).
    pub(crate) fn lately() -> Self {
        Self(source::lately())
    }

    pub(crate) fn now() -> Self {
        Self(source::now())
    }

    /// Returns how much earlier than `self` the other was. An age that is the `now` since a
    /// `lately` is never too short.
    pub(crate) fn since(self, earlier: Self) -> Duration {
        source::since(self.0, earlier.0)
    }
}
