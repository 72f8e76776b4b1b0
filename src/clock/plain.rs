//! `Instant`, which every system has.

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
