//! What an operator sees of a shutdown: a bar on a terminal, and log lines elsewhere.
//!
//! Run with: `cargo run --example progress`, and Ctrl-C; then the same with `2>&1 | cat`.

use std::{
    error::Error,
    io::{self, IsTerminal},
    time::Duration,
};

use async_drain::{Drain, Phase, Progress, Report, Shutdown, log, signal};
use env_logger::Env;
use indicatif::{ProgressBar, ProgressStyle};
use smol::Timer;

fn main() -> Result<Report, Box<dyn Error>> {
    env_logger::Builder::from_env(Env::default().default_filter_or("info")).init();
    let drain = Drain::tracked(); // so that the oldest job is named
    let shutdown = Shutdown::new(&drain)
        .on(signal::termination()?)
        .grace(Duration::from_secs(20));
    let shutdown = if io::stderr().is_terminal() {
        shutdown.on_progress(Duration::from_millis(100), bar()?)
    } else {
        shutdown.on_progress(Duration::from_secs(2), log::progress())
    };
    for seconds in 1..=10 {
        let guard = drain.guard()?.labeled(format!("job {seconds}"));
        let job = guard.run_until_aborting(Timer::after(Duration::from_secs(seconds)));
        smol::spawn(guard.wrap(job)).detach();
    }
    println!("ten jobs have begun");
    Ok(smol::block_on(
        shutdown.run(async { drain.until_draining().await }),
    ))
}

/// Returns a hook that draws a bar, which fills as the work in flight finishes.
fn bar() -> Result<impl FnMut(&Progress) + Send + 'static, Box<dyn Error>> {
    let bar = ProgressBar::new(0);
    bar.set_style(ProgressStyle::with_template(
        "[{bar:20}] {pos}/{len} {wide_msg}",
    )?);
    Ok(move |progress: &Progress| {
        let in_flight = progress.in_flight as u64;
        match progress.phase {
            Phase::Running => return,
            // The report is about to be printed.
            Phase::Drained => return bar.finish_and_clear(),
            _ => {}
        }
        if bar.length() < Some(in_flight) {
            bar.set_length(in_flight);
        }
        bar.set_position(bar.length().unwrap_or(0) - in_flight);
        bar.set_message(progress.to_string());
    })
}
