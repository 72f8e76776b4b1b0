//! Two requests in one write, at various moments around the signal.
//!
//! If the first answer says `Connection: close`, the server has promised that it did not process
//! the second request (RFC 9112, section 9.6): it is unanswered, and safe to send again.

use crate::round::{Round, random_pause};
use smol::Timer;
use std::io::Result;
use std::time::Duration;
use testkit::meter::gate::{Gate, Hold, gate};
use testkit::meter::http1::{Http1, head};
use testkit::meter::peer::Peer;
use testkit::meter::tally::{Expected, Outcome, Tally};

/// When the signal is sent, counted from the earliest write.
const SIGNAL_AT: Duration = Duration::from_millis(400);
/// The latest write.
const LAST_AT: Duration = Duration::from_millis(450);

/// Gets every connection going, then lets the clients write while the signal is sent.
pub(crate) async fn run(round: &Round<'_>) -> Result<Tally> {
    let (start, started) = gate();
    let stop = async {
        drop(start);
        Timer::after(SIGNAL_AT).await;
        round.signal()
    };
    round
        .play(|hold| client(round, hold, started.clone()), stop)
        .await
}

async fn client(round: &Round<'_>, hold: Hold, started: Gate) -> Result<Tally> {
    let mut tally = Tally::default();
    let Some(stream) = round.connect(&mut tally).await? else {
        return Ok(tally);
    };
    let mut conn = Http1::new(stream);
    let warm_up = conn.get("/").await;
    round.record(&mut tally, warm_up, Expected::OK)?;
    drop(hold);
    started.opened().await;
    random_pause(LAST_AT).await;
    if matches!(warm_up, Outcome::Answered { leaving: false, .. }) && conn.look().await {
        let both = [head("GET", "/sleep/300", ""), head("GET", "/", "")].concat();
        let first = conn.ask(&both).await;
        round.record(&mut tally, first, Expected::OK)?;
        let second = match first {
            Outcome::Answered { leaving: true, .. } => Outcome::Retryable,
            Outcome::Answered { leaving: false, .. } => conn.answers.next().await,
            unanswered => unanswered,
        };
        round.record(&mut tally, second, Expected::OK)?;
    }
    Ok(tally)
}
