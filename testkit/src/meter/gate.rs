//! A gate that opens when the last hold on it is dropped.
//!
//! The scenarios wait for events and not for a guess at how long they take: "every connection has
//! had an answer" is a gate that each client holds shut until its first answer, and "the signal is
//! sent" one that only the sender of the signal holds.

use smol::channel::{Receiver, Sender, bounded};
use std::convert::Infallible;

/// Keeps a [`Gate`] shut until it and its clones are dropped, also by a client that ends early.
#[derive(Debug, Clone)]
pub struct Hold {
    _sender: Sender<Infallible>,
}

/// Where to wait.
#[derive(Debug, Clone)]
pub struct Gate(Receiver<Infallible>);

/// Makes a gate, shut.
pub fn gate() -> (Hold, Gate) {
    let (sender, receiver) = bounded(1);
    (Hold { _sender: sender }, Gate(receiver))
}

impl Gate {
    /// Waits until every hold is dropped.
    pub async fn opened(&self) {
        // Nothing can be sent, so that this is the error of a channel whose senders are gone.
        let _ = self.0.recv().await;
    }
}
