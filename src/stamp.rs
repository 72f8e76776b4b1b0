//! When a guard was made, for its age: by a clock that costs a fifth of `Instant`'s, where there is one.

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

// Rustix is in the tree of async-io anyway. It makes its system calls itself, which Miri can't follow.
#[cfg(all(
    feature = "async-io",
    any(target_os = "linux", target_os = "android"),
    not(miri)
))]
mod clock {
    use std::time::Duration;

    use rustix::time::{ClockId, clock_gettime};

    /// Since the clock began.
    pub(super) type Moment = Duration;

    pub(super) fn lately() -> Moment {
        read(ClockId::MonotonicCoarse)
    }

    pub(super) fn now() -> Moment {
        read(ClockId::Monotonic)
    }

    pub(super) fn since(now: Moment, earlier: Moment) -> Duration {
        now.saturating_sub(earlier)
    }

    fn read(clock: ClockId) -> Moment {
        // Neither clock is ever negative, and both count from the same moment.
        clock_gettime(clock).try_into().unwrap_or_default()
    }
}

#[cfg(not(all(
    feature = "async-io",
    any(target_os = "linux", target_os = "android"),
    not(miri)
)))]
mod clock {
    use std::time::{Duration, Instant};

    pub(super) type Moment = Instant;

    pub(super) fn lately() -> Moment {
        Instant::now()
    }

    pub(super) fn now() -> Moment {
        Instant::now()
    }

    pub(super) fn since(now: Moment, earlier: Moment) -> Duration {
        now.saturating_duration_since(earlier)
    }
}
