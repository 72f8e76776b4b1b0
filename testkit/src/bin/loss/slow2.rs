//! HTTP/2 readers that are slowed by flow control, of a body that its handler gave away in one
//! frame: all of it is in the server when the handler is done.

use crate::round::Round;
use std::io::Result;
use std::time::Duration;
use testkit::meter::gate::Hold;
use testkit::meter::slow2;
use testkit::meter::tally::{Expected, Tally};

/// After each frame of 16 KB: the whole takes 7 to 8 s, which is more than any timer but the grace
/// period.
const PAUSE: Duration = Duration::from_millis(30);

const EXPECTED: Expected = Expected {
    status: 200,
    body: Some(4_000_000),
};

/// Sends the signal when every answer has begun.
pub(crate) async fn run(round: &Round<'_>) -> Result<Tally> {
    round
        .play(|hold| client(round, hold), async { round.signal() })
        .await
}

async fn client(round: &Round<'_>, hold: Hold) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(stream) = round.connect(&mut tally).await? else {
        return Ok(tally);
    };
    let mut hold = Some(hold);
    let outcome = slow2::read(stream, "/full/4000000", PAUSE, || drop(hold.take())).await;
    round.record(&mut tally, outcome, EXPECTED)?;
    Ok(tally)
}
