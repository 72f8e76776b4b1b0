//! Times that a look compares with the present.

use std::time::Instant;

/// Compares times with the present, which is known only in a look that the alarm has caused.
pub(super) struct Due {
    pub(super) now: Option<Instant>,
    /// The earliest time that has not passed.
    pub(super) next: Option<Instant>,
}

impl Due {
    /// Returns whether `at` has passed; never if it is `None`.
    #[inline]
    pub(super) fn has_passed(&mut self, at: Option<Instant>) -> bool {
        let Some(at) = at else {
            return false;
        };
        if self.now.is_some_and(|now| at <= now) {
            return true;
        }
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
        false
    }
}
