//! Clients that arrive at a rate of their own, as from a network: one that waits for its connection
//! keeps no other from connecting.

use crate::round::{Round, random_pause};
use smol::{LocalExecutor, Task, Timer, lock::Semaphore};
use std::cell::Cell;
use std::io::Result;
use std::time::Duration;
use testkit::meter::tally::Tally;

/// The time from one client to the next.
const PERIOD: Duration = Duration::from_micros(50);
/// The longest time from the first client to the signal.
const AT_MOST: Duration = Duration::from_millis(100);

/// Sends the signal while clients arrive, and ends when one has been refused and the others are
/// done. Not more of them are under way at once than the round has connections.
pub(crate) async fn run(round: &Round<'_>) -> Result<Tally> {
    let room = Semaphore::new(round.connections);
    let is_refused = Cell::new(false);
    let executor = LocalExecutor::new();
    let signal = executor.spawn(async {
        random_pause(AT_MOST).await;
        round.signal()
    });
    let arrive = async {
        let mut clients: Vec<Task<Result<Tally>>> = Vec::new();
        while !is_refused.get() && !round.is_over() {
            let place = room.acquire().await;
            clients.push(executor.spawn(async {
                let mut tally = Tally::default();
                if !round.one_request(&mut tally).await? {
                    is_refused.set(true);
                }
                drop(place);
                Ok(tally)
            }));
            Timer::after(PERIOD).await;
        }
        signal.await?;
        let mut total = Tally::default();
        for client in clients {
            total += client.await?;
        }
        Ok(total)
    };
    executor.run(arrive).await
}
