//! Clients that send a request, wait for the answer, pause, and send another on the same
//! connection, with some latency.
//!
//! The latency matters. A careful client checks that its connection is still open before it reuses
//! it, but what it sees is as old as the latency, so a server that closes an idle connection can
//! always cross a request that is under way. Here the latency passes between the check and the
//! write, which loses the same requests as a real network would.

use crate::round::{Round, random_pause};
use smol::Timer;
use std::io::Result;
use std::time::Duration;
use testkit::meter::gate::Hold;
use testkit::meter::peer::Peer;
use testkit::meter::tally::{Expected, Outcome, Tally};

/// The shortest range of think times, which keeps clients without latency from merely saturating
/// the server.
const THINK_AT_LEAST: Duration = Duration::from_millis(20);

/// Runs the clients, and sends the signal at a random point of their cycle once each has had an
/// answer.
pub(crate) async fn run<P: Peer>(round: &Round<'_>, latency: Duration) -> Result<Tally> {
    // A third of a cycle is latency: about the share of clients with a request under way at any
    // moment.
    let think = THINK_AT_LEAST.max(latency * 4);
    let stop = async {
        random_pause(think + latency).await;
        round.signal()
    };
    round
        .play(|hold| client::<P>(round, latency, think, hold), stop)
        .await
}

async fn client<P: Peer>(
    round: &Round<'_>,
    latency: Duration,
    think: Duration,
    hold: Hold,
) -> Result<Tally> {
    let mut hold = Some(hold);
    let mut tally = Tally::default();
    while !round.is_over() {
        let Some(stream) = round.connect(&mut tally).await? else {
            break;
        };
        let mut peer = P::new(stream);
        loop {
            random_pause(think).await;
            if !peer.look().await {
                break;
            }
            if !latency.is_zero() {
                Timer::after(latency).await;
            }
            let outcome = peer.get("/").await;
            round.record(&mut tally, outcome, Expected::OK)?;
            match outcome {
                Outcome::Answered { leaving: false, .. } => drop(hold.take()),
                _ => break,
            }
            if round.is_over() {
                break;
            }
        }
        tally.truncations += u64::from(peer.leave().await);
    }
    Ok(tally)
}
