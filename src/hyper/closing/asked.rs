//! How long a connection that was asked to end is waited for (Z5 Z6).

use std::time::{Duration, Instant};

use super::{Closing, Due, Next};
use crate::{hyper::activity::Activity, shutdown::timer};

/// How long an HTTP/2 peer without a stream has to react to the first GOAWAY and its PING; gRPC has
/// the same limit.
const GOAWAY: Duration = Duration::from_secs(5);

impl Closing {
    /// Returns when the peer last acknowledged bytes while it lacked more; `asked` if it never has.
    /// If it is reading slowly what came before the GOAWAY, it is still there (Z5).
    fn acknowledged_at(&mut self, asked: Instant) -> Instant {
        let Some((acknowledged, missing)) = self.activity.as_ref().map(Activity::acknowledged)
        else {
            return asked;
        };
        let (before, at) = self.acknowledged.get_or_insert((acknowledged, asked));
        if *before != acknowledged && missing > 0 {
            *before = acknowledged;
            *at = Instant::now();
        }
        *at
    }

    /// Returns what to do with a connection that was `asked` to end.
    ///
    /// hyper waits for its PING to come back, however long that takes, and then for the last
    /// stream. A peer that has sent anything since it was told is still there, and a task of the
    /// user's may be reading from one of its streams. While a stream is a tunnel, the peer need not
    /// react (Z6).
    pub(super) fn next_after(&mut self, asked: Instant, due: &mut Due) -> Next {
        let Some(activity) = (self.activity.as_ref()).filter(|activity| activity.is_http2()) else {
            return Next::Wait;
        };
        let reacted = activity.has_reacted();
        let tunnel = activity.has_tunnel();
        let asked = if tunnel || self.tunnel {
            *self.asked.insert(Instant::now())
        } else {
            asked
        };
        self.tunnel = tunnel;
        let since = (self.idleness.since(asked)).filter(|_| !reacted);
        let since = since.map(|since| since.max(self.acknowledged_at(asked)));
        if due.has_passed(timer::later(since, GOAWAY)) {
            Next::Cut
        } else {
            Next::Wait
        }
    }
}
