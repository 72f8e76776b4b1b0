use std::fmt;

/// The stage of shutdown that a drain has reached. Phases only advance, and some may be skipped.
///
/// The enum is exhaustive: these five phases and their order are what the crate promises, so a
/// `match` may rely on them.
///
/// ```
/// use async_drain::{Drain, Phase};
///
/// let drain = Drain::new();
/// assert_eq!(drain.phase(), Phase::Running);
/// drain.begin();
/// assert_eq!(drain.phase(), Phase::Drained); // nothing was in flight
/// assert!(Phase::Draining < Phase::Drained);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Phase {
    /// Work is accepted.
    Running = 0,
    /// Still accepting, but already unready and telling peers to leave.
    LameDuck = 1,
    /// No new work; work in flight finishes.
    Draining = 2,
    /// The grace period is over, or the operator insisted: remaining work is cancelled.
    Aborting = 3,
    /// Draining has begun and no guard is left. Final.
    Drained = 4,
}

impl Phase {
    /// How many phases can be waited for: all but the first.
    pub(crate) const AWAITED: usize = 4;

    pub(crate) fn from_u8(level: u8) -> Self {
        match level {
            0 => Self::Running,
            1 => Self::LameDuck,
            2 => Self::Draining,
            3 => Self::Aborting,
            _ => Self::Drained,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Running => "running",
            Self::LameDuck => "lame duck",
            Self::Draining => "draining",
            Self::Aborting => "aborting",
            Self::Drained => "drained",
        })
    }
}

#[cfg(all(test, not(any(loom, shuttle))))]
mod tests {
    use super::Phase;

    /// S1: the order of the phases is the order of their numbers.
    #[test]
    fn numbers_and_order_agree() {
        for a in 0..=Phase::Drained as u8 {
            assert_eq!(Phase::from_u8(a) as u8, a);
            for b in 0..=Phase::Drained as u8 {
                assert_eq!(Phase::from_u8(a).cmp(&Phase::from_u8(b)), a.cmp(&b));
            }
        }
        assert_eq!(Phase::AWAITED, Phase::Drained as usize);
    }
}
