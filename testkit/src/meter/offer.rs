//! An HTTP/1.1 client that offers HTTP/2 in the clear with each request, as libraries do that can't
//! know what the server speaks. The server may answer as if it had not (RFC 9110, 7.8).

use crate::meter::http1::{Http1, head};
use crate::meter::peer::Peer;
use crate::meter::tally::Outcome;
use crate::meter::transport::Stream;

const OFFER: &str = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: \r\n";

/// A connection.
pub struct Offer(Http1);

impl Peer for Offer {
    fn new(stream: Stream) -> Self {
        Self(Http1::new(stream))
    }

    async fn look(&mut self) -> bool {
        self.0.look().await
    }

    async fn get(&mut self, path: &str) -> Outcome {
        self.0.ask(&head("GET", path, OFFER)).await
    }

    async fn leave(self) -> bool {
        self.0.leave().await
    }
}
