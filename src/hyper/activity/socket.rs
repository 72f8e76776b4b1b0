//! What the socket reports.

use std::sync::{Arc, atomic::Ordering};

use super::{super::framing::Body, Activity};
use crate::net::{Delivery, Expected};

/// What a poll of the connection has read.
pub(super) struct Reads;

impl Reads {
    /// No watch tells where a poll begins and ends.
    pub(super) const UNBOUNDED: u8 = 0;
    /// A watch polls the connection.
    pub(super) const IN_POLL: u8 = 1;
    /// A read of this poll has found no bytes: its waker is registered, and further reads are
    /// spared the system call. Only over HTTP/2: h2 reads once for each request that it hands out,
    /// and an upgraded connection of HTTP/1 is read by another task than the watch's.
    const EXHAUSTED: u8 = 2;
}

impl Activity {
    /// Notes that the connection's socket is watched, and is told what its peer may still send.
    pub(in crate::hyper) fn set_socket(&self, delivery: Arc<Delivery>) {
        // A second socket for the same connection would be the caller's mistake; the first stays.
        let _ = self.0.socket.set(delivery);
    }

    /// Notes that `bytes` have arrived, which hyper has not seen yet.
    #[inline]
    pub(in crate::hyper) fn received(&self, bytes: &[u8]) {
        let position = self.position();
        if position.is_upgraded() {
            return;
        }
        self.set_expects_continue(false);
        if position.is_http2_for_good() && self.0.told.load(Ordering::Relaxed) && !bytes.is_empty()
        {
            self.0.reacted.store(true, Ordering::Relaxed);
        }
        self.frame(|framing| {
            if position.is_parsed_later() {
                framing.parsed(Body::None);
            }
            framing.receive(bytes);
        });
    }

    /// Notes whether a read of hyper's has found no bytes.
    #[inline]
    pub(in crate::hyper) fn set_starved(&self, starved: bool) {
        self.0.starved.store(starved, Ordering::Relaxed);
        if starved && self.position().is_http2_for_good() {
            self.exhausted();
        }
    }

    fn exhausted(&self) {
        if self.0.reads.load(Ordering::Relaxed) == Reads::IN_POLL {
            self.0.reads.store(Reads::EXHAUSTED, Ordering::Relaxed);
        }
    }

    /// Returns whether a read has found no bytes since the poll of the connection began.
    #[inline]
    pub(in crate::hyper) fn is_exhausted(&self) -> bool {
        self.0.reads.load(Ordering::Relaxed) == Reads::EXHAUSTED
    }

    /// Returns whether nothing has arrived behind the head that has just been read.
    #[inline]
    pub(in crate::hyper) fn is_head_alone(&self) -> bool {
        self.position().is_head_alone()
    }

    /// Sets whether the peer waits for `100 Continue` before it sends the body of its request.
    #[inline]
    pub(in crate::hyper) fn set_expects_continue(&self, expects: bool) {
        self.0.expects_continue.store(expects, Ordering::Relaxed);
    }

    /// Notes that `bytes` are written: the peer no longer waits if they are `100 Continue`.
    #[inline]
    pub(in crate::hyper) fn writes(&self, bytes: &[u8]) {
        const CONTINUE: &[u8] = b"HTTP/1.1 100 ";
        if self.expects_continue() && bytes.windows(CONTINUE.len()).any(|line| line == CONTINUE) {
            self.set_expects_continue(false);
        }
    }

    #[inline]
    fn expects_continue(&self) -> bool {
        self.0.expects_continue.load(Ordering::Relaxed)
    }

    #[inline]
    pub(in crate::hyper) fn set_blocked(&self, blocked: bool) {
        self.0.blocked.store(blocked, Ordering::Relaxed);
    }

    /// Notes that all of h2's buffer has been written.
    #[inline]
    pub(in crate::hyper) fn set_flushed(&self) {
        self.0.copied.store(false, Ordering::Relaxed);
    }

    /// Notes that the connection is about to be closed, by its own close.
    pub(in crate::hyper) fn ends(&self) {
        self.set_starved(true);
        if let Some(delivery) = self.0.socket.get() {
            delivery.set_unended(false);
            // A peer that has its answer without `100 Continue` sends no body.
            delivery.expect(
                if self.position().is_in_body() && !self.expects_continue() {
                    Expected::Rest
                } else if self.is_left() {
                    Expected::Nothing
                } else {
                    Expected::Unknown
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::framing::Body, Activity};
    use crate::Drain;

    /// Z8: a peer owes its body once it was told to continue, or has begun to send it.
    #[test]
    fn a_peer_waits_until_it_is_told_to_continue() {
        let head = b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
        let asks = |arrived: &[u8]| {
            let activity = Activity::new(&Drain::new());
            activity.received(arrived);
            activity.set_expects_continue(activity.is_head_alone());
            drop(activity.request(Some(Body::Exact(5)), |_| ()));
            activity
        };
        let waits = asks(head);
        assert!(waits.expects_continue());
        waits.writes(b"HTTP/1.1 401 Unauthorized\r\n\r\n");
        assert!(waits.expects_continue());
        waits.writes(b"HTTP/1.1 100 Continue\r\n\r\n");
        assert!(!waits.expects_continue());

        let sends = asks(head);
        sends.received(b"a");
        assert!(!sends.expects_continue());
        let has_sent = asks(&[&head[..], b"a"].concat());
        assert!(!has_sent.expects_continue());
    }
}
