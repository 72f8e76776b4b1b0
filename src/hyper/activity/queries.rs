//! What the watch asks about the connection.

use std::sync::atomic::Ordering;

use super::{Activity, Reads};

impl Activity {
    /// Returns whether nothing is under way: no head has begun, no request is unanswered, no body
    /// has yet to arrive, and no byte of an answer is unwritten.
    #[inline]
    pub(in crate::hyper) fn is_idle(&self) -> bool {
        if !self.is_answered() {
            return false;
        }
        let position = self.position();
        if position.is_http2() && !self.is_flushed() {
            return false;
        }
        if self.0.blocked.load(Ordering::Relaxed) {
            // What a peer of HTTP/2 doesn't read may be nothing but acknowledgements of its own
            // PINGs.
            return position.is_http2()
                && !position.is_head_begun()
                && !self.0.copied.load(Ordering::Relaxed);
        }
        !position.is_head_begun() && !position.is_in_body()
    }

    /// Returns whether all answers that h2 has been given had left it after the last poll.
    fn is_flushed(&self) -> bool {
        self.ended() == self.0.flushed.load(Ordering::Relaxed)
    }

    /// Returns whether an answer of HTTP/2 ended too late for the last poll, which would have
    /// written it: the next one does.
    #[inline]
    pub(in crate::hyper) fn is_unflushed(&self) -> bool {
        self.is_http2() && !self.is_flushed() && !self.0.blocked.load(Ordering::Relaxed)
    }

    /// Notes that a watch begins to poll the connection. Pass the result, which is how many answers
    /// h2 has been given, to [`polled`](Self::polled) afterwards.
    #[inline]
    pub(in crate::hyper) fn poll_begins(&self) -> usize {
        if !self.is_http2() {
            return 0;
        }
        self.0.reads.store(Reads::IN_POLL, Ordering::Relaxed);
        self.ended()
    }

    fn ended(&self) -> usize {
        self.0.ended.load(Ordering::Relaxed)
    }

    /// Notes that the connection was polled and has to wait: the answers that had `ended` before
    /// have left h2, unless the socket is blocked. One that has ended since may have come too late
    /// for this poll.
    #[inline]
    pub(in crate::hyper) fn polled(&self, ended: usize, asked: bool) {
        if self.is_http2() {
            self.polled_http2(ended, asked);
        }
    }

    fn polled_http2(&self, ended: usize, asked: bool) {
        self.0.reads.store(Reads::UNBOUNDED, Ordering::Relaxed);
        if !self.0.blocked.load(Ordering::Relaxed) {
            self.0.flushed.store(ended, Ordering::Relaxed);
            if asked {
                self.0.told.store(true, Ordering::Relaxed);
            }
        }
        if let Some(delivery) = self.0.socket.get() {
            delivery.set_own(self.is_written());
        }
    }

    /// Returns whether all answers of HTTP/2 have left h2, and no tunnel writes: until the next
    /// request, whatever is written belongs to HTTP/2 itself.
    fn is_written(&self) -> bool {
        // `ended` and `copied` last: another thread sets them before it lowers the two counts that
        // are read above.
        self.is_answered()
            && !self.has_tunnel()
            && self.is_flushed()
            && !self.0.copied.load(Ordering::Relaxed)
            && self.position().is_http2_for_good()
    }

    /// Returns whether a head is incomplete and nothing keeps the peer from sending the rest: the
    /// requests before it have been answered (Z13). An empty line does not begin a head.
    ///
    /// The preface of HTTP/2 counts as a head until it and the frame behind it are complete. A head
    /// of HTTP/2 doesn't wait for answers, but it may have to wait until the peer reads: h2 may
    /// read nothing before that.
    #[inline]
    pub(in crate::hyper) fn is_reading_head(&self) -> bool {
        let position = self.position();
        position.is_in_head()
            && (self.is_answered()
                || position.is_in_http2_head() && !self.0.blocked.load(Ordering::Relaxed))
    }

    /// Returns whether hyper has gone to sleep over bytes of HTTP/1 that it has read, though no
    /// request is unanswered: nothing will wake it, and it is to be polled again.
    ///
    /// If the end of an answer becomes ready at the wrong moment, hyper 1.12 writes it after its
    /// last look at what to do next. That write goes on to read, and what it reads is not parsed.
    #[inline]
    pub(in crate::hyper) fn is_stalled(&self) -> bool {
        !self.0.starved.load(Ordering::Relaxed) && self.is_answered() && {
            let position = self.position();
            !position.is_http2_for_good()
                && !position.is_in_body()
                && !position.is_upgraded()
                && !self.0.blocked.load(Ordering::Relaxed)
        }
    }

    /// Returns whether a stream of HTTP/2 is a tunnel, which keeps the connection open (Z6).
    pub(in crate::hyper) fn has_tunnel(&self) -> bool {
        self.0.tunnels.load(Ordering::Acquire) > 0
    }

    /// Returns whether the peer has sent anything since it was told to leave.
    pub(in crate::hyper) fn has_reacted(&self) -> bool {
        self.0.reacted.load(Ordering::Relaxed)
    }

    /// Returns how many bytes the peer had acknowledged, and how many it had not, as of the last
    /// read or write that had to wait after the peer was asked to leave.
    pub(in crate::hyper) fn acknowledged(&self) -> (usize, usize) {
        (self.0.socket.get()).map_or((0, 0), |delivery| delivery.acknowledged())
    }
}

#[cfg(test)]
mod tests {
    use super::Activity;
    use crate::Drain;

    /// S8: an answer that ends between h2's last write and the watch's look is not written: the
    /// connection is at work, and is polled once more.
    #[test]
    fn an_answer_of_http2_that_ends_late_is_work() {
        let activity = Activity::new(&Drain::new());
        let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        activity.received(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings[..]].concat());
        let unanswered = activity.request(None, |_| ());
        let ended = activity.poll_begins();
        drop(unanswered);
        activity.polled(ended, false);
        assert!(activity.is_unflushed() && !activity.is_idle());
        let ended = activity.poll_begins();
        activity.polled(ended, false);
        assert!(!activity.is_unflushed() && activity.is_idle());
    }
}
