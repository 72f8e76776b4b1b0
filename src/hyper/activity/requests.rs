//! What the service reports: each request, from its head to the end of its answer.

use std::sync::atomic::Ordering;

use super::{
    super::framing::{Body, Framing, Position},
    Activity,
    tunnel::Tunnel,
};

impl Activity {
    /// Notes that a head has been read, which announces `body`; `None` over HTTP/2. The request is
    /// unanswered until the value is dropped.
    ///
    /// It is counted and named before its handler is called, which may never return.
    #[inline]
    pub(in crate::hyper) fn request(
        &self,
        body: Option<Body>,
        name: impl FnOnce(&mut String),
    ) -> Unanswered {
        let http2 = body.is_none();
        if let Some(body) = body {
            self.parsed(body);
        }
        if let Some(starter) = self.0.starter.get() {
            starter.start(self.node(), name);
        }
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        self.0.unanswered.fetch_add(1, Ordering::Relaxed);
        if http2 {
            if let Some(delivery) = self.0.socket.get() {
                delivery.set_own(false);
            }
        }
        Unanswered {
            activity: self.clone(),
            of: if http2 { Of::Http2 } else { Of::Http1 },
        }
    }

    /// Notes that hyper has parsed a head, which announces `body`.
    #[inline]
    fn parsed(&self, body: Body) {
        if body == Body::None && self.position().is_head_alone() {
            // The common case takes no lock.
            let parsed = Position::PARSED.byte();
            self.0.position.store(parsed, Ordering::Relaxed);
        } else {
            self.frame(|framing| framing.parsed(body));
        }
    }
}

/// A request that has not been answered.
#[derive(Debug)]
pub struct Unanswered {
    activity: Activity,
    of: Of,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Http1,
    Http2,
    /// A request of HTTP/2 whose answer opens a tunnel.
    Tunnel,
}

impl Unanswered {
    #[inline]
    pub(in crate::hyper) fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Returns what keeps the request unanswered until h2 has written a piece of its answer; `None`
    /// over HTTP/1.
    #[inline]
    pub(in crate::hyper) fn until_written(&self) -> Option<Buffered> {
        (self.of == Of::Http2).then(|| Buffered::new(&self.activity))
    }

    /// Notes that the answer ends only with the connection.
    pub(in crate::hyper) fn set_unended(&self) {
        if let Some(delivery) = self.activity.0.socket.get() {
            delivery.set_unended(true);
        }
    }

    /// Notes that the answer makes a tunnel of the whole connection, or of a stream over HTTP/2.
    pub(in crate::hyper) fn upgraded(&mut self) {
        if self.of == Of::Http2 {
            self.of = Of::Tunnel;
            Tunnel::announce(&self.activity);
        } else {
            self.activity.frame(Framing::upgraded);
            // The guard goes, and the connection is another task's.
            if let Some(delivery) = self.activity.0.socket.get() {
                delivery.set_guarded(false);
            }
        }
    }
}

impl Drop for Unanswered {
    #[inline]
    fn drop(&mut self) {
        // Before `unanswered`: a poll that finds the connection answered must know that the answer
        // may not be flushed.
        match self.of {
            Of::Http1 => self.activity.answer_ends(),
            Of::Http2 => _ = self.activity.0.ended.fetch_add(1, Ordering::Relaxed),
            Of::Tunnel => {
                self.activity.0.ended.fetch_add(1, Ordering::Relaxed);
                // hyper drops the answer last: by then it has spawned the tunnel's task, or it
                // never will.
                drop(Tunnel::next());
            }
        }
        self.activity.0.unanswered.fetch_sub(1, Ordering::Release);
    }
}

/// A piece of an answer of HTTP/2 that h2 has buffered.
#[derive(Debug)]
pub(in crate::hyper) struct Buffered(Activity);

impl Buffered {
    fn new(activity: &Activity) -> Self {
        activity.0.unanswered.fetch_add(1, Ordering::Relaxed);
        Self(activity.clone())
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        // Before `unanswered`, as above.
        self.0.0.copied.store(true, Ordering::Relaxed);
        self.0.0.unanswered.fetch_sub(1, Ordering::Release);
    }
}
