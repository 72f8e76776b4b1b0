//! Tunnels, which are used all through lame duck, are told when draining begins, and end then.

use crate::early::Protocol;
use crate::round::{Round, TIMEOUT};
use std::io::Result;
use std::time::Duration;
use testkit::meter::gate::Hold;
use testkit::meter::tally::{Expected, Tally};
use testkit::meter::tunnel::{Tunnel1, Tunnel2, talk};

/// Between two messages.
const PAUSE: Duration = Duration::from_millis(200);

/// Sends the signal when every tunnel has echoed once.
pub(crate) async fn run(round: &Round<'_>, protocol: Protocol) -> Result<Tally> {
    round
        .play(|hold| client(round, protocol, hold), async {
            round.signal()
        })
        .await
}

async fn client(round: &Round<'_>, protocol: Protocol, hold: Hold) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(stream) = round.connect(&mut tally).await? else {
        return Ok(tally);
    };
    let mut hold = Some(hold);
    let echoed = || drop(hold.take());
    let outcome = match protocol {
        Protocol::Http1 => talk::<Tunnel1>(stream, PAUSE, TIMEOUT, echoed).await,
        Protocol::Http2 => talk::<Tunnel2>(stream, PAUSE, TIMEOUT, echoed).await,
    };
    round.record(&mut tally, outcome, Expected::OK)?;
    Ok(tally)
}
