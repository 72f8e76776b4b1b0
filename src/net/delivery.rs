use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// What is known of the bytes that were written to a connection.
///
/// Shared between its [`Linger`](super::Linger), which writes it, and the owner of the connection's
/// guard, which looks after each poll that closes the connection, and once more when the connection
/// is dropped.
// Relaxed throughout: both act in the connection's task.
#[derive(Debug, Default)]
pub struct Delivery {
    /// Set while the connection is closing and its peer has not acknowledged all bytes.
    unacknowledged: AtomicBool,
    /// Set when bytes were given up.
    lost: AtomicBool,
    /// Set while a message is written that ends only with the connection, and isn't complete.
    unended: AtomicBool,
    /// Set when the peer is cut off and no byte of an answer is missing: what it has not acknowledged
    /// is the protocol's own.
    answered: AtomicBool,
    /// An [`Expected`], set by the protocol above before it closes.
    expected: AtomicU8,
}

/// What a peer may still send when the connection is closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Expected {
    /// It is not known: the close waits until the peer has acknowledged it, and goes on if bytes
    /// arrive until then.
    #[default]
    Unknown = 0,
    /// The rest of a message: the close waits for it.
    Rest = 1,
    /// Nothing: the connection has been idle. If the peer has acknowledged all before the close,
    /// that is over at once.
    Nothing = 2,
}

impl Delivery {
    /// Returns whether the connection is being closed and bytes of it are on their way: it is at
    /// work.
    pub fn is_unacknowledged(&self) -> bool {
        self.unacknowledged.load(Ordering::Relaxed)
    }

    /// Returns whether the connection was closed while bytes were known to be unacknowledged: it
    /// was abandoned.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Tells whether a message is being written that ends only with the connection, and isn't complete.
    /// While it is, dropping the connection resets it, since its peer would take any other end for the
    /// message's.
    #[cfg(feature = "hyper")]
    pub(crate) fn set_unended(&self, unended: bool) {
        self.unended.store(unended, Ordering::Relaxed);
    }

    /// Says that the peer is cut off, and lacks no byte of an answer.
    #[cfg(feature = "hyper")]
    pub(crate) fn set_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn is_unended(&self) -> bool {
        self.unended.load(Ordering::Relaxed)
    }

    pub(super) fn set_unacknowledged(&self, unacknowledged: bool) {
        self.unacknowledged.store(unacknowledged, Ordering::Relaxed);
    }

    pub(super) fn set_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    /// Tells what the peer may still send.
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
