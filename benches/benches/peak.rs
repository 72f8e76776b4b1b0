//! A million tracked guards: what stays of them once they are dropped and half as many have come
//! and gone, and how long a guard waits for a reader of their records.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use async_drain::{Drain, Guard};
use async_drain_bench::{
    counting::{Counting, in_use},
    figures::{Bound, Figures},
    race::quantile,
};

#[global_allocator]
static COUNTING: Counting = Counting;

const GUARDS: usize = 1_000_000;
const ROUNDS: usize = 9;
const OURS: &str = "async-drain";
const NO_READER: &str = "no reader";
/// How many milliseconds a guard waits at most.
const MOST: f64 = 1.0;

fn main() {
    let mut figures = Figures::new("peak", "bytes a guard; milliseconds");
    after(&mut figures);
    meanwhile(&mut figures);
    figures.publish();
}

fn guards(drain: &Drain) -> Vec<Guard> {
    let guard = |n| drain.guard().map(|g| g.labeled(format!("GET /export/{n}")));
    (0..GUARDS).filter_map(|n| guard(n).ok()).collect()
}

fn after(figures: &mut Figures) {
    let drain = Drain::tracked();
    let before = in_use();
    let work = guards(&drain);
    let bytes = || in_use().wrapping_sub(before) as f64 / GUARDS as f64;
    let peak = bytes();
    drop(work);
    // What is vacant is freed by guards that come later, a few each.
    for _ in 0..GUARDS / 2 {
        drop(drain.guard());
    }
    let stay = bytes();
    let (in_flight, count) = took(|| drain.in_flight());
    assert_eq!(in_flight, 0);
    let (_, begin) = took(|| drain.begin());
    for (case, value) in [
        ("bytes at the peak", peak),
        ("bytes after it", stay),
        ("in_flight() after it", count),
        ("begin() after it", begin),
    ] {
        figures.add(case, OURS, value);
    }
    figures.target(
        "bytes that stay after a peak of a million tracked guards, times those at the peak",
        stay / peak,
        Bound::AtMost(0.05),
    );
    figures.target(
        "milliseconds of in_flight() after it",
        count,
        Bound::AtMost(1.0),
    );
    figures.target(
        "milliseconds of begin() after it",
        begin,
        Bound::AtMost(1.0),
    );
}

/// The longest that a thread waits for a guard while another reads, in the median of the rounds:
/// the machine has other work, which makes any thread wait now and then.
fn meanwhile(figures: &mut Figures) {
    let drain = Drain::tracked();
    let work = guards(&drain);
    let readers: [(&str, &(dyn Fn() + Sync)); 3] = [
        (NO_READER, &thread::yield_now),
        ("in_flight()", &|| assert!(drain.in_flight() >= GUARDS)),
        ("stragglers()", &|| drop(drain.stragglers())),
    ];
    let mut idle = true;
    for (who, read) in readers {
        let mut longest: Vec<_> = (0..ROUNDS).map(|_| longest_wait(&drain, read)).collect();
        let longest = quantile(&mut longest, 0.5);
        figures.add("longest wait for a guard", who, longest);
        if who == NO_READER {
            idle = longest <= MOST;
            continue;
        }
        // Otherwise it is the machine that makes threads wait.
        let longest = if idle { longest } else { f64::NAN };
        figures.target(
            format!("milliseconds that a guard waits at most, {who}, a million alive"),
            longest,
            Bound::AtMost(MOST),
        );
    }
    drop(work);
}

/// Takes guards while another thread reads, and returns the milliseconds of the slowest.
fn longest_wait(drain: &Drain, read: &(dyn Fn() + Sync)) -> f64 {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(100) {
                read();
            }
            over.store(true, Ordering::Relaxed);
        });
        let mut longest = 0.0_f64;
        while !over.load(Ordering::Relaxed) {
            let (guard, time) = took(|| drain.guard());
            drop(guard);
            longest = longest.max(time);
        }
        longest
    })
}

fn took<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = run();
    (result, start.elapsed().as_secs_f64() * 1000.0)
}
