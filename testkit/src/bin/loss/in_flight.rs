//! Responses that have begun when the signal comes, and must still arrive whole.

use crate::round::Round;
use smol::Timer;
use std::io::Result;
use std::time::Duration;
use testkit::meter::gate::Hold;
use testkit::meter::http1::{Http1, head};
use testkit::meter::tally::{Expected, Loss, Outcome, Tally};

/// So long that both are delivered, and far less than what an operator would take to insist.
const BETWEEN_TWO_SIGNALS: Duration = Duration::from_millis(50);

/// A long response and how it is read.
pub(crate) struct InFlight {
    path: &'static str,
    /// The pause after each piece of at most 64 KB.
    pause: Duration,
    expected: Expected,
}

/// Returns a request for a chunked response that takes 1.5 s by itself.
pub(crate) fn stream() -> InFlight {
    InFlight {
        path: "/stream/15/100",
        pause: Duration::ZERO,
        expected: Expected::OK,
    }
}

/// Returns a request for 20 MB, read at 4 to 5 MB a second: most of it is still in the server when
/// the handler is done.
pub(crate) fn big() -> InFlight {
    slowly_read("/bytes/20000000")
}

/// The same, from a handler that gives all of it away in one frame.
pub(crate) fn big_frame() -> InFlight {
    slowly_read("/full/20000000")
}

fn slowly_read(path: &'static str) -> InFlight {
    let expected = Expected {
        status: 200,
        body: Some(20_000_000),
    };
    InFlight {
        path,
        pause: Duration::from_millis(14),
        expected,
    }
}

impl InFlight {
    /// Sends the signal when every response has begun.
    pub(crate) async fn run(&self, round: &Round<'_>) -> Result<Tally> {
        round
            .play(|hold| self.client(round, hold), async { round.signal() })
            .await
    }

    /// The same, but the signal is sent twice, as wrappers, process groups and supervisors do.
    pub(crate) async fn run_twice(&self, round: &Round<'_>) -> Result<Tally> {
        let stop = async {
            round.signal()?;
            Timer::after(BETWEEN_TWO_SIGNALS).await;
            round.signal()
        };
        round.play(|hold| self.client(round, hold), stop).await
    }

    async fn client(&self, round: &Round<'_>, hold: Hold) -> Result<Tally> {
        let mut tally = Tally::default();
        let Some(stream) = round.connect(&mut tally).await? else {
            return Ok(tally);
        };
        round.record(
            &mut tally,
            self.ask(&mut Http1::new(stream), hold).await,
            self.expected,
        )?;
        Ok(tally)
    }

    async fn ask(&self, conn: &mut Http1, begun: Hold) -> Outcome {
        if let Err(error) = conn.requests.write(&head("GET", self.path, "")).await {
            return Outcome::Lost(Loss::new(&error, 0));
        }
        match conn.answers.head().await {
            Ok(head) => {
                drop(begun);
                conn.answers.rest(&head, self.pause).await
            }
            Err(loss) => Outcome::Lost(loss),
        }
    }
}
