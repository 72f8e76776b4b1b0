//! The kernel's coarse clock, which is read without a system call and moves once a tick.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The time since the clock began.
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
