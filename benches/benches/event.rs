//! From the last guard's drop to the return of the thread that waits for it, as a distribution
//! (L2).
//!
//! Beside peers, and Go's `Shutdown`, which polls at growing intervals of up to half a second
//! (where a `go` is found).

use std::{
    process::Command,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use async_drain::Drain;
use async_drain_bench::{
    distributions::distributions,
    figures::{Bound, Figures},
    paired::Ratios,
    race::quantile,
    server::built_go,
};
use swansong::Swansong;
use tokio_util::task::TaskTracker;

/// In batches, each with a 99th percentile of its own, since one alone would have no interval.
const BATCHES: usize = 20;
const BATCH: usize = 100;
const UNPARK: &str = "a bare unpark";
const OURS: &str = "async-drain";

/// Blocks until the work is done, and when the work was.
type Waits = Box<dyn FnOnce() + Send>;
type Ends = Box<dyn FnOnce()>;

fn main() {
    let mut figures = Figures::new("event", "time to notice, 1 = half of bare unparks");
    let mut table: Vec<(&str, Vec<f64>)> = [UNPARK, OURS, "swansong", "TaskTracker", "crossbeam"]
        .map(|who| (who, Vec::new()))
        .into();
    for round in 0..BATCHES * BATCH {
        for i in 0..table.len() {
            let (who, samples) = &mut table[(i + round) % 5];
            samples.push(noticed(who));
        }
    }
    let slowest = |place: usize, batch: usize| {
        let samples: &Vec<f64> = &table[place].1;
        quantile(&mut samples[batch * BATCH..][..BATCH].to_vec(), 0.99)
    };
    let mut slow = Ratios::new();
    for batch in 0..BATCHES {
        slow.add(slowest(1, batch), slowest(3, batch));
    }
    table.extend(go().map(|samples| ("Go's Shutdown", samples)));

    let mut half = distributions(&mut figures, &mut table);
    let (ours, theirs) = (half(OURS), half("swansong"));
    figures.target(
        "to notice the last drop, times swansong, half of the rounds",
        ours / theirs,
        Bound::AtMost(1.1),
    );
    figures.interval(
        "to notice the last drop, times TaskTracker, 99 of 100 rounds",
        &slow,
        Bound::AtMost(1.0),
    );
    figures.publish();
}

/// Returns the nanoseconds from the end of the work to the return of a thread that sleeps until
/// then.
fn noticed(who: &str) -> f64 {
    let (waits, ends) = contender(who);
    let begun = Arc::new(Barrier::new(2));
    let waiting = thread::spawn({
        let begun = Arc::clone(&begun);
        move || {
            begun.wait();
            waits();
            Instant::now()
        }
    });
    begun.wait();
    if who == UNPARK {
        let thread = waiting.thread().clone();
        thread::sleep(ASLEEP);
        let ended = Instant::now();
        ends();
        thread.unpark();
        return since(waiting, ended);
    }
    thread::sleep(ASLEEP);
    let ended = Instant::now();
    ends();
    since(waiting, ended)
}

/// Long enough for the other thread to be asleep by then.
const ASLEEP: Duration = Duration::from_millis(1);

fn since(waiting: thread::JoinHandle<Instant>, ended: Instant) -> f64 {
    let noticed = waiting.join().expect("it only waits");
    noticed.saturating_duration_since(ended).as_nanos() as f64
}

fn contender(who: &str) -> (Waits, Ends) {
    match who {
        OURS => {
            let drain = Drain::new();
            let guard = drain.guard();
            drain.begin();
            let until = drain.until_drained();
            (Box::new(|| until.wait()), Box::new(|| drop(guard)))
        }
        "swansong" => {
            let swansong = Swansong::new();
            let guard = swansong.guard();
            let completion = swansong.shut_down();
            (Box::new(|| completion.block()), Box::new(|| drop(guard)))
        }
        "TaskTracker" => {
            let tracker = TaskTracker::new();
            let token = tracker.token();
            tracker.close();
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            let runtime = runtime.expect("a runtime");
            let waits = move || runtime.block_on(tracker.wait());
            (Box::new(waits), Box::new(|| drop(token)))
        }
        "crossbeam" => {
            let group = crossbeam_utils::sync::WaitGroup::new();
            let work = group.clone();
            (Box::new(|| group.wait()), Box::new(|| drop(work)))
        }
        _ => {
            let done = Arc::new(AtomicUsize::new(0));
            let set = Arc::clone(&done);
            let waits = move || {
                while done.load(Ordering::Acquire) == 0 {
                    thread::park();
                }
            };
            (
                Box::new(waits),
                Box::new(move || set.store(1, Ordering::Release)),
            )
        }
    }
}

/// Runs Go's program, which prints the nanoseconds of one request a line; they end at any time
/// after `Shutdown` was called.
fn go() -> Option<Vec<f64>> {
    let output = Command::new(built_go("benches/go/shutdown.go")?).output();
    let output = output.expect("what was built");
    assert!(output.status.success(), "{output:?}");
    let lines = String::from_utf8_lossy(&output.stdout);
    Some(lines.lines().filter_map(|l| l.parse().ok()).collect())
}
