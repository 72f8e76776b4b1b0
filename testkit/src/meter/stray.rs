//! An HTTP/1.1 client that sends an empty line after each request, as old ones do, and which a
//! server is to ignore (RFC 9112, 2.2).

use crate::meter::http1::{Http1, head};
use crate::meter::peer::Peer;
use crate::meter::tally::Outcome;
use crate::meter::transport::Stream;

/// A connection.
pub struct Stray(Http1);

impl Peer for Stray {
    fn new(stream: Stream) -> Self {
        Self(Http1::new(stream))
    }

    async fn look(&mut self) -> bool {
        self.0.look().await
    }

    async fn get(&mut self, path: &str) -> Outcome {
        let mut request = head("GET", path, "");
        request.extend(b"\r\n");
        self.0.ask(&request).await
    }

    async fn leave(self) -> bool {
        self.0.leave().await
    }
}
