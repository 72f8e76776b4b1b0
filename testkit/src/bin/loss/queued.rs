//! Requests that the kernel has taken for a server that is frozen when it is told to stop, as on a
//! starved machine.

use crate::round::Round;
use std::io::Result;
use testkit::meter::gate::Hold;
use testkit::meter::http1::{Http1, head};
use testkit::meter::tally::{Expected, Loss, Outcome, Tally};

/// Freezes the server, queues the requests, sends the signal and lets the server go on.
pub(crate) async fn run(round: &Round<'_>) -> Result<Tally> {
    round.server.stop()?;
    let stop = async {
        round.signal()?;
        round.server.cont()
    };
    round.play(|hold| client(round, hold), stop).await
}

async fn client(round: &Round<'_>, hold: Hold) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(stream) = round.connect(&mut tally).await? else {
        return Ok(tally);
    };
    let mut conn = Http1::new(stream);
    let written = conn.requests.write(&head("GET", "/", "")).await;
    drop(hold);
    let outcome = match written {
        Ok(()) => conn.answers.next().await,
        Err(error) => Outcome::Lost(Loss::new(&error, 0)),
    };
    round.record(&mut tally, outcome, Expected::OK)?;
    Ok(tally)
}
