//! What a client that sends one request after another needs of a protocol.

use crate::meter::tally::Outcome;
use crate::meter::transport::Stream;

/// The client's side of one connection.
#[allow(async_fn_in_trait, reason = "its clients run on one thread")]
pub trait Peer {
    /// Wraps a fresh connection; writes nothing yet.
    fn new(stream: Stream) -> Self;
    /// Returns whether the connection may be used once more, by what has arrived so far.
    async fn look(&mut self) -> bool;
    /// Places one request.
    async fn get(&mut self, path: &str) -> Outcome;
    /// Leaves, and returns whether the server ended a TLS connection without `close_notify`.
    async fn leave(self) -> bool;
}
