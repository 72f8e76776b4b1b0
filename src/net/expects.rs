use std::sync::atomic::{AtomicU8, Ordering};

/// What the protocol above a [`Linger`](super::Linger) says of its peer when it closes; shared with the connection.
#[derive(Debug, Default)]
pub struct Expects(AtomicU8);

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
        self.0.store(expected as u8, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> Expected {
        // Relaxed: see `set`.
        match self.0.load(Ordering::Relaxed) {
            1 => Expected::Rest,
            2 => Expected::Nothing,
            _ => Expected::Unknown,
        }
    }
}
