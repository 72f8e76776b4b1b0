//! What happens when a connection's age comes, and when its age grace is over (Z14).

use super::{Closing, Due, Next};
use crate::{Phase, drain::connection_guard::ConnectionGuard, hyper::activity::Activity};

impl Closing {
    /// Tells the peer and the handlers that the connection's age has come.
    pub(super) fn tell_of_age(&mut self, due: &Due) {
        let Some(age) = &mut self.age else {
            return;
        };
        age.at = None;
        let Some(activity) = &self.activity else {
            self.expired = due.now;
            return;
        };
        // Tell the peer first: a handler may answer as soon as it is told, and `close` belongs into
        // that answer.
        activity.set_leaving();
        if let Some(handlers) = activity.handlers() {
            handlers.begin(age);
        }
    }

    /// Ends the connection because its age grace is over. Returns `None` if it is idle and was
    /// asked to end before.
    pub(super) fn end_by_age(&mut self) -> Option<Next> {
        let age = self.age.as_mut()?;
        age.cut = None;
        if let Some(handlers) = self.activity.as_ref().and_then(Activity::handlers) {
            handlers.abort(age);
        }
        // A connection whose activity is not known is always at work.
        if self.activity.is_none() || self.idleness.since(self.idleness.accepted).is_none() {
            return Some(Next::CutByAge);
        }
        self.asked.is_none().then_some(Next::Ask)
    }

    /// Notes that the connection is cut at work, because its age grace is over. That is in the
    /// report if the shutdown is under way, and in the log.
    #[cfg_attr(
        not(feature = "log"),
        allow(clippy::unused_self, reason = "only the log names the age")
    )]
    pub(in crate::hyper) fn cut_by_age(&self, guard: Option<&mut ConnectionGuard>) {
        let Some(guard) = guard else {
            return;
        };
        #[cfg(feature = "log")]
        if let Some(age) = &self.age {
            age.of.name_cut_connection(guard);
        }
        if guard.phase() > Phase::Running {
            guard.abandon();
        }
    }
}
