//! Half a head in the same segment as a request that is answered: the next request has begun, and
//! its rest comes when an idle connection would be closed.

use crate::round::Round;
use smol::Timer;
use std::io::Result;
use std::time::Duration;
use testkit::meter::gate::Hold;
use testkit::meter::http1::{Http1, head};
use testkit::meter::tally::{Expected, Loss, Outcome, Tally};

/// After the signal, and after the keep-alive grace.
const DELAY: Duration = Duration::from_millis(1500);

/// Sends the signal when every first request is answered.
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
    let mut conn = Http1::new(stream);
    let mut first = head("GET", "/", "");
    first.extend(&first[..first.len() / 2].to_vec());
    let outcome = conn.ask(&first).await;
    round.record(&mut tally, outcome, Expected::OK)?;
    drop(hold);
    round.signalled().await;
    Timer::after(DELAY).await;
    let whole = head("GET", "/", "");
    let outcome = match conn.requests.write(&whole[whole.len() / 2..]).await {
        Ok(()) => conn.answers.next().await,
        Err(error) => Outcome::Lost(Loss::new(&error, 0)),
    };
    round.record(&mut tally, outcome, Expected::OK)?;
    Ok(tally)
}
