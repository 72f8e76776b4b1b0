//! What is known of the delivery of the bytes that were written to a connection.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};

use crate::drain::connection_guard::Deliver;

/// Tells whether the bytes that were written to a connection have reached its peer.
///
/// Its [`Linger`](super::Linger) writes it. The owner of the connection's guard reads it after each
/// poll that closes the connection, and when the connection is dropped.
// Relaxed throughout: both run in the task of the connection. One that is upgraded is sent to
// another task, which orders what was written before.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// Set by `Linger` while the connection is closing and its peer has not acknowledged all bytes.
    unacknowledged: AtomicBool,
    /// Set by `Linger` when it gives up bytes that the peer has not acknowledged.
    lost: AtomicBool,
    /// Set by the protocol from the start of a message that only the end of the connection ends
    /// until the message is complete.
    unended: AtomicBool,
    /// Set by the protocol while it writes bytes of its own rather than of an answer.
    own: AtomicBool,
    /// Set while the connection's guard reports what is lost, and `Linger` doesn't. Cleared by the
    /// protocol before it hands the connection on without the guard.
    guarded: AtomicBool,
    /// Set by the protocol if it needs `acknowledged` and `missing`.
    watched: AtomicBool,
    /// How many bytes the peer had acknowledged at the last look; set by `Linger`.
    acknowledged: AtomicUsize,
    /// How many bytes the peer had not acknowledged at the last look; set by `Linger`.
    missing: AtomicUsize,
    /// An [`Expected`], set by the protocol before it closes.
    expected: AtomicU8,
}

/// What a peer may still send when we close the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Expected {
    /// Unknown: the close waits until the peer has acknowledged it, and longer if bytes arrive
    /// before that.
    #[default]
    Unknown = 0,
    /// The rest of a message: the close waits for it.
    Rest = 1,
    /// Nothing, since the connection was idle: if the peer has acknowledged everything before the
    /// close, the close doesn't wait.
    Nothing = 2,
}

impl Deliver for Delivery {
    fn is_unacknowledged(&self) -> bool {
        self.unacknowledged.load(Ordering::Relaxed)
    }

    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Delivery {
    /// Sets whether a message that only the end of the connection ends is incomplete. Until it is
    /// complete, dropping the connection resets it: the peer would take any other end for the end
    /// of the message.
    #[cfg(feature = "hyper")]
    pub(crate) fn set_unended(&self, unended: bool) {
        self.unended.store(unended, Ordering::Relaxed);
    }

    /// Sets whether bytes that are written from now on belong to the protocol itself: they never
    /// count as missing.
    #[cfg(feature = "hyper")]
    pub(crate) fn set_own(&self, own: bool) {
        self.own.store(own, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_own(&self) -> bool {
        self.own.load(Ordering::Relaxed)
    }

    /// Sets whether the connection's guard reports what is lost, rather than `Linger`.
    pub(crate) fn set_guarded(&self, guarded: bool) {
        self.guarded.store(guarded, Ordering::Relaxed);
    }

    pub(super) fn is_guarded(&self) -> bool {
        self.guarded.load(Ordering::Relaxed)
    }

    /// Makes `Linger` record what the peer has acknowledged whenever a read or write has to wait.
    #[cfg(feature = "hyper")]
    pub(crate) fn watch(&self) {
        self.watched.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Returns how many bytes had been acknowledged at the last look, and how many had not.
    #[cfg(feature = "hyper")]
    pub(crate) fn acknowledged(&self) -> (usize, usize) {
        (
            self.acknowledged.load(Ordering::Relaxed),
            self.missing.load(Ordering::Relaxed),
        )
    }

    pub(super) fn set_acknowledged(&self, acknowledged: usize, missing: usize) {
        self.acknowledged.store(acknowledged, Ordering::Relaxed);
        self.missing.store(missing, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_unended(&self) -> bool {
        self.unended.load(Ordering::Relaxed)
    }

    pub(super) fn set_unacknowledged(&self, unacknowledged: bool) {
        self.unacknowledged.store(unacknowledged, Ordering::Relaxed);
    }

    pub(super) fn set_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Sets what the peer may still send.
    #[cfg(feature = "hyper")]
    pub(crate) fn expect(&self, expected: Expected) {
        self.expected.store(expected as u8, Ordering::Relaxed);
    }

    pub(super) fn expects_rest(&self) -> bool {
        self.expected.load(Ordering::Relaxed) == Expected::Rest as u8
    }

    pub(super) fn expects_nothing(&self) -> bool {
        self.expected.load(Ordering::Relaxed) == Expected::Nothing as u8
    }
}
