//! Clients that connect for every request, as fast as they can, while the listener retires.

use crate::round::{Round, random_pause};
use std::io::Result;
use std::time::Duration;
use testkit::meter::gate::Hold;
use testkit::meter::tally::Tally;

/// The longest time from the first connection to the signal.
const AT_MOST: Duration = Duration::from_millis(100);

/// Sends the signal while clients connect, and ends when connections are refused.
pub(crate) async fn run(round: &Round<'_>) -> Result<Tally> {
    let stop = async {
        random_pause(AT_MOST).await;
        round.signal()
    };
    round.play(|hold| client(round, hold), stop).await
}

async fn client(round: &Round<'_>, hold: Hold) -> Result<Tally> {
    let mut hold = Some(hold);
    let mut tally = Tally::default();
    while !round.is_over() && round.one_request(&mut tally).await? {
        drop(hold.take());
    }
    Ok(tally)
}
