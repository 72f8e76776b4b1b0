use std::sync::atomic::{AtomicU8, Ordering};

/// Whether a connection's guard is at work, and what the record of abandoned work has of it.
// Relaxed throughout: only the task of the connection changes it.
#[derive(Debug)]
pub(crate) struct WorkState {
    flags: AtomicU8,
    /// The index of the part that its guard is in.
    part: usize,
}

impl WorkState {
    /// Set while the connection is at work.
    const AT_WORK: u8 = 1;
    /// Set if the record that is made when aborting begins lacks the work.
    const UNCOUNTED: u8 = 2;
    /// Set once the connection has been recorded as abandoned; the others are cleared then.
    const ABANDONED: u8 = 4;

    /// Creates the state of a connection whose guard is in that part.
    pub(crate) fn new(part: usize) -> Self {
        Self {
            flags: AtomicU8::new(Self::AT_WORK),
            part,
        }
    }

    #[inline]
    pub(crate) fn part(&self) -> usize {
        self.part
    }

    #[inline]
    fn is(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    #[inline]
    fn set(&self, flag: u8, on: bool) {
        let others = self.flags.load(Ordering::Relaxed) & !flag;
        let flag = if on { flag } else { 0 };
        self.flags.store(others | flag, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_at_work(&self) -> bool {
        self.is(Self::AT_WORK)
    }

    #[inline]
    pub(crate) fn set_at_work(&self, at_work: bool) {
        self.set(Self::AT_WORK, at_work);
    }

    /// Returns whether the record that is made when aborting begins lacks the work, or the last
    /// work of an idle connection.
    pub(crate) fn is_uncounted(&self) -> bool {
        self.is(Self::UNCOUNTED)
    }

    #[inline]
    pub(crate) fn set_uncounted(&self, uncounted: bool) {
        self.set(Self::UNCOUNTED, uncounted);
    }

    /// Returns whether the connection has been recorded as abandoned: it does not work again.
    #[inline]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.is(Self::ABANDONED)
    }

    /// Marks the connection recorded and idle; returns its part if it was at work.
    pub(crate) fn abandon(&self) -> Option<usize> {
        let at_work = self.is_at_work();
        self.flags.store(Self::ABANDONED, Ordering::Relaxed);
        at_work.then_some(self.part)
    }
}
