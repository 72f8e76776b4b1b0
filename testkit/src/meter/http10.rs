//! An HTTP/1.0 client that relies on `keep-alive`, like `ab -k`: it sends the next request at once,
//! without checking that the connection is still open.

use crate::meter::http1::Http1;
use crate::meter::peer::Peer;
use crate::meter::tally::{Loss, Outcome};
use crate::meter::transport::Stream;
use std::time::Duration;

/// A connection.
pub struct Http10(Http1);

impl Peer for Http10 {
    fn new(stream: Stream) -> Self {
        Self(Http1::new(stream))
    }

    async fn look(&mut self) -> bool {
        true
    }

    async fn get(&mut self, path: &str) -> Outcome {
        let request = format!("GET {path} HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n");
        if let Err(error) = self.0.requests.write(request.as_bytes()).await {
            return Outcome::Lost(Loss::new(&error, 0));
        }
        let head = match self.0.answers.head().await {
            Ok(head) => head,
            Err(loss) => return Outcome::Lost(loss),
        };
        match self.0.answers.rest(&head, Duration::ZERO).await {
            Outcome::Answered { status, body, .. } => Outcome::Answered {
                status,
                body,
                // Whatever else it says. Without a length, the end of the answer is the
                // connection's.
                leaving: !head.has_option("keep-alive") || head.header("content-length").is_none(),
            },
            other => other,
        }
    }

    async fn leave(self) -> bool {
        self.0.leave().await
    }
}
