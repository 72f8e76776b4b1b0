//! When a peer is told that the server stops, if that time is drawn from a window.

use std::time::{Duration, Instant};

use super::{Closing, Due};
use crate::{
    hyper::{activity::Activity, limits},
    shutdown::timer,
};

/// When to look for a deadline again, if draining began without one: after this time, then after
/// twice that, and so on.
const LATE_DEADLINE: Duration = Duration::from_millis(100);

/// A time that was drawn from a window, and the deadline of the drain that was known then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    at: Instant,
    deadline: Option<Instant>,
}

impl Closing {
    /// Tells the peer to leave at its moment, once the server stops. Returns since when an idle
    /// connection of HTTP/1 has been told, once draining has begun.
    pub(super) fn tell_in_window(
        &mut self,
        stopping: bool,
        begun: Option<Instant>,
        due: &mut Due,
    ) -> Option<Instant> {
        let spared = self.activity.as_ref().is_some_and(Activity::is_spared);
        if !stopping || spared && begun.is_none() {
            return None;
        }
        let moment = self.moment(begun, due);
        if !self.is_leaving() {
            if !due.has_passed(Some(moment)) {
                return None;
            }
            self.set_leaving();
        }
        begun.map(|begun| begun.max(moment))
    }

    /// Returns when the connection is told to leave. It is drawn once, and once more if a deadline
    /// becomes known into which it doesn't fit: a second request has cut lame duck short, or code
    /// has begun the drain by hand, which has its deadline a moment later.
    fn moment(&mut self, begun: Option<Instant>, due: &mut Due) -> Instant {
        let deadline = (self.activity.as_ref()).and_then(|activity| activity.node().deadline());
        if deadline.is_none() {
            let mut late = LATE_DEADLINE;
            while due.has_passed(timer::later(begun, late)) {
                late = late.saturating_mul(2);
            }
        }
        let keep_alive = self.idleness.graces.keep_alive;
        let fits = |at: Instant| {
            deadline.is_none_or(|end| at.checked_add(keep_alive).is_some_and(|at| at <= end))
        };
        match self.moment {
            Some(drawn) if drawn.deadline == deadline || self.is_leaving() || fits(drawn.at) => {
                drawn.at
            }
            _ => {
                let now = Instant::now();
                let room = deadline.map_or(Duration::MAX, |end| {
                    let left = end.saturating_duration_since(now);
                    let room = left.saturating_sub(keep_alive);
                    // The close that follows takes time, too.
                    room.mul_f64(0.9)
                });
                let at = now + limits::drawn(self.limits().spread.min(room));
                self.moment = Some(Moment { at, deadline });
                at
            }
        }
    }
}
