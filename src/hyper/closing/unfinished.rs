//! How long a handshake and the head of a request may take (Z13).

use std::{
    task::{Context, Poll},
    time::Instant,
};

use super::{Closing, Due, Next};
use crate::{hyper::alarm::Alarm, shutdown::timer};

impl Closing {
    /// Ready when a handshake that is still under way is to be given up.
    pub(in crate::hyper) fn poll_handshake(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.poll_aborting(cx).is_ready() {
            return Poll::Ready(());
        }
        self.idleness.set_idle(true, false);
        if self.unfinished.is_none() {
            self.unfinished = timer::later(Some(Instant::now()), self.limits().handshake);
        }
        let next = self.look(cx, |this, due, cx| {
            let silence = match this.idleness.poll_draining(cx) {
                Poll::Ready(begun) => this.idleness.end(true, begun),
                Poll::Pending => None,
            };
            if due.has_passed(this.unfinished) || due.has_passed(silence) {
                Next::Cut
            } else {
                Next::Wait
            }
        });
        match next {
            Next::Wait => Poll::Pending,
            Next::Ask | Next::Cut | Next::CutByAge => Poll::Ready(()),
        }
    }

    /// Notes that the handshake is complete: its time limit ends with it.
    pub(in crate::hyper) fn handshake_done(&mut self) {
        self.unfinished = None;
        self.alarm = Alarm::default();
    }

    /// Returns whether a head has begun and is not complete in time (Z13). Once the server is
    /// `stopping`, the grace period alone limits the requests beside it over HTTP/2 (Z5).
    #[inline]
    pub(super) fn is_head_late(&mut self, stopping: bool, due: &mut Due) -> bool {
        let reading = (self.activity.as_ref())
            .filter(|activity| activity.is_reading_head())
            .filter(|activity| !stopping || activity.is_answered());
        let Some(activity) = reading else {
            self.unfinished = None;
            return false;
        };
        let requests = activity.requests();
        if self.requests_before != requests {
            // The next head has begun in the same poll that completed the last one.
            self.requests_before = requests;
            self.unfinished = None;
        }
        if self.unfinished.is_none() {
            self.unfinished = timer::later(Some(Instant::now()), self.limits().head);
        }
        due.has_passed(self.unfinished)
    }
}
