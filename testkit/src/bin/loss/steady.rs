//! Clients of a server that runs, which may end connections for limits of its own: their age, or
//! the time that they are idle.

use crate::round::{Round, random_pause};
use smol::Timer;
use std::io::Result;
use std::time::{Duration, Instant};
use testkit::meter::gate::Hold;
use testkit::meter::peer::Peer;
use testkit::meter::tally::{Expected, Outcome, Tally};

/// What passes between a client's look at its connection and the arrival of its request.
const LATENCY: Duration = Duration::from_millis(1);

/// When clients send their next request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// Soon.
    Busy,
    /// When a limit ends, give or take 5 ms: the advertised limit of 1 s, the limit itself of 1.5
    /// s, and the second beyond it in which the connection is still kept.
    AtTheLimit,
}

impl Load {
    /// Returns whether a client that began then has sent enough requests.
    fn is_over(self, began: Instant, requests: u64) -> bool {
        match self {
            Self::Busy => began.elapsed() > Duration::from_secs(5),
            Self::AtTheLimit => requests >= 8,
        }
    }

    async fn pause(self, client: usize) {
        match self {
            Self::Busy => random_pause(Duration::from_millis(20)).await,
            Self::AtTheLimit => {
                let limit = [1_000, 1_500, 2_500][client % 3] - 5;
                Timer::after(Duration::from_millis(limit)).await;
                random_pause(Duration::from_millis(10)).await;
            }
        }
    }
}

/// Runs the clients until each has sent all of its requests, and then stops the server.
pub(crate) async fn run<P: Peer>(round: &Round<'_>, load: Load) -> Result<Tally> {
    let stop = async { round.signal() };
    round
        .play(|hold| client::<P>(round, load, hold), stop)
        .await
}

async fn client<P: Peer>(round: &Round<'_>, load: Load, hold: Hold) -> Result<Tally> {
    let number = round.number();
    let began = Instant::now();
    let mut tally = Tally::default();
    while !load.is_over(began, tally.requests) {
        let Some(stream) = round.connect(&mut tally).await? else {
            break;
        };
        let mut peer = P::new(stream);
        loop {
            let outcome = peer.get("/").await;
            // The server has not been told to stop, and may lose nothing all the same.
            tally.record(outcome, Expected::OK);
            let Outcome::Answered { leaving: false, .. } = outcome else {
                break;
            };
            if load.is_over(began, tally.requests) {
                break;
            }
            load.pause(number).await;
            if !peer.look().await {
                break;
            }
            Timer::after(LATENCY).await;
        }
        tally.truncations += u64::from(peer.leave().await);
    }
    drop(hold);
    Ok(tally)
}
