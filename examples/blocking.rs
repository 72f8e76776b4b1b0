//! Work on a pool of blocking threads, which can't be cancelled from outside: each job holds its
//! guard on its thread, and checks it between two steps.
//!
//! Run with: `cargo run --example blocking -- 10 1000`, and Ctrl-C; each argument is a job of so
//! many steps of 20 ms. A job that can finish within `GRACE_MS` does so; another stops between two
//! steps.

use std::{
    env,
    error::Error,
    thread,
    time::{Duration, Instant},
};

use async_drain::{Drain, Guard, Report, Shutdown, signal};
use blocking::unblock;

const STEP: Duration = Duration::from_millis(20);

fn main() -> Result<Report, Box<dyn Error>> {
    let grace = env::var("GRACE_MS").map_or(Ok(10_000), |ms| ms.parse())?;
    let drain = Drain::tracked();
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_millis(grace));

    for steps in env::args().skip(1) {
        let steps = steps
            .parse()
            .map_err(|_| format!("'{steps}' is not a number of steps"))?;
        let guard = drain.guard()?.labeled(format!("{steps} steps"));
        // The closure owns the guard, not the future: dropping the future would not stop the
        // thread.
        unblock(move || job(steps, &guard)).detach();
    }
    println!("started");
    Ok(smol::block_on(shutdown.run(drain.until_draining())))
}

fn job(steps: u32, guard: &Guard) {
    for step in 0..steps {
        if guard.is_draining() && !in_time(steps - step, guard.deadline()) {
            println!("{steps} steps: stopped after {step}");
            return;
        }
        thread::sleep(STEP);
    }
    println!("{steps} steps: done");
}

/// Returns whether so many steps can be done by `deadline`.
fn in_time(steps: u32, deadline: Option<Instant>) -> bool {
    let end = Instant::now().checked_add(STEP.saturating_mul(steps));
    match (end, deadline) {
        (Some(end), Some(deadline)) => end < deadline,
        (None, Some(_)) => false,
        (_, None) => true,
    }
}
