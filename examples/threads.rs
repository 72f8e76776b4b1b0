//! Plain threads: each holds a guard, finishes the round that it has begun, and is woken from the
//! pause between two rounds when draining begins.
//!
//! Run with: `cargo run --example threads`, and Ctrl-C.

use std::{error::Error, thread, time::Duration};

use async_drain::{Drain, Guard, Report, Shutdown, signal};
use futures_lite::future::block_on;

/// The time between two rounds.
const PAUSE: Duration = Duration::from_secs(60);

fn main() -> Result<Report, Box<dyn Error>> {
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_secs(10));

    for name in ["mail", "thumbnails"] {
        let guard = drain.guard()?.labeled(name);
        thread::spawn(move || work(name, &guard));
    }
    Ok(block_on(shutdown.run(drain.until_draining())))
}

fn work(name: &str, guard: &Guard) {
    loop {
        println!("{name}: a round begins");
        thread::sleep(Duration::from_millis(200));
        println!("{name}: a round is done");
        if guard.until_draining().wait_timeout(PAUSE) {
            break;
        }
    }
}
