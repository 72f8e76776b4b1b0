use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

/// What the protocol above a [`Linger`](super::Linger) says of its peer when it closes, and of what it writes; shared with
/// the connection.
#[derive(Debug, Default)]
pub struct Expects {
    expected: AtomicU8,
    /// What is being written has no end but the connection's, and isn't complete.
    unended: AtomicBool,
}

/// What a peer may still send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Expected {
    /// It is not known: the close waits until the peer has acknowledged it, and goes on if bytes arrive meanwhile.
    #[default]
    Unknown = 0,
    /// The rest of a message: the close waits for it.
    Rest = 1,
    /// Nothing: the connection has been idle. If the peer has acknowledged all before the close, that is over at once.
    Nothing = 2,
}

impl Expects {
    /// Says what is expected from now on.
    pub fn set(&self, expected: Expected) {
        // Relaxed: set by the task that closes the connection, or before it was asked to.
        self.expected.store(expected as u8, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Expected {
        // Relaxed: see `set`.
        match self.expected.load(Ordering::Relaxed) {
            1 => Expected::Rest,
            2 => Expected::Nothing,
            _ => Expected::Unknown,
        }
    }

    /// Says whether a message is being written that ends only with the connection, and isn't complete. While it is,
    /// dropping the connection resets it, since its peer would take any other end for the message's (Z8).
    pub fn set_unended(&self, unended: bool) {
        // Relaxed: set by the task that writes the message, before it writes.
        self.unended.store(unended, Ordering::Relaxed);
    }

    pub(super) fn is_unended(&self) -> bool {
        // Relaxed: see `set_unended`.
        self.unended.load(Ordering::Relaxed)
    }
}
