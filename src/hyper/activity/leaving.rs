//! What the watch decides: when answers tell the peer to leave, and when an idle connection ends.

use std::sync::{Arc, atomic::Ordering};

use ::hyper::header::HeaderValue;

use super::{
    super::{age::HandlerDrain, limits::SharedLimits},
    Activity,
};
use crate::{Phase, drain::presence::Presence};

/// When answers tell the peer to leave.
struct Leaving;

impl Leaving {
    /// From lame duck on, or from draining on if the connection is spared.
    const BY_PHASE: u8 = 0;
    /// Not before [`set_leaving`](Activity::set_leaving).
    const WHEN_TOLD: u8 = 1;
    const NOW: u8 = 2;
}

impl Activity {
    /// Returns whether answers tell the peer to leave.
    #[inline]
    pub(in crate::hyper) fn is_leaving(&self) -> bool {
        match self.0.leaving.load(Ordering::Relaxed) {
            Leaving::BY_PHASE => self.node().latch.is(if self.0.spared {
                Phase::Draining
            } else {
                Phase::LameDuck
            }),
            leaving => leaving == Leaving::NOW,
        }
    }

    /// Makes answers tell the peer to leave from now on.
    pub(in crate::hyper) fn set_leaving(&self) {
        self.0.leaving.store(Leaving::NOW, Ordering::Relaxed);
    }

    /// Returns whether the connection was accepted in lame duck, which then is not a reason to
    /// leave.
    pub(in crate::hyper) fn is_spared(&self) -> bool {
        self.0.spared
    }

    /// Sets the limits of the connection. If its age is limited, handlers are told, and the result
    /// keeps their drain from being drained.
    pub(in crate::hyper) fn set_limits(&self, limits: &Arc<SharedLimits>) -> Option<Presence> {
        // A second watch for the same connection would be the caller's mistake.
        if self.0.limits.set(Arc::clone(limits)).is_err() {
            return None;
        }
        if !limits.spread.is_zero() && self.0.leaving.load(Ordering::Relaxed) == Leaving::BY_PHASE {
            self.0.leaving.store(Leaving::WHEN_TOLD, Ordering::Relaxed);
        }
        limits.age?;
        let (handlers, presence) = HandlerDrain::new(&self.0.drain);
        let _ = self.0.handlers.set(Box::new(handlers));
        presence
    }

    /// Returns what tells handlers of the connection's age, if that is limited.
    #[inline]
    pub(in crate::hyper) fn handlers(&self) -> Option<&HandlerDrain> {
        self.0.handlers.get().map(|handlers| &**handlers)
    }

    /// Returns the idle limit that answers advertise, if there is one.
    #[inline]
    pub(in crate::hyper) fn advertised(&self) -> Option<&HeaderValue> {
        self.0.limits.get()?.advertised.as_ref()
    }

    /// Makes an idle connection end: an HTTP/1 peer is told nothing, and nothing more is expected
    /// of it. Returns whether the socket ends the connection, so that hyper need not be asked to.
    pub(in crate::hyper) fn leave(&self) -> bool {
        let left = !self.position().is_http2_for_good();
        self.0.left.store(left, Ordering::Relaxed);
        let socket = self.0.socket.get();
        if let (false, Some(delivery)) = (left, socket) {
            delivery.watch();
        }
        left && socket.is_some()
    }

    #[inline]
    pub(in crate::hyper) fn is_left(&self) -> bool {
        self.0.left.load(Ordering::Relaxed)
    }
}
