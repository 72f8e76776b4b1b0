//! What a child costs: to create and drop one, with a guard and without, on one thread, two, four
//! and eight (C6).
//!
//! More threads than cores take turns, so a round is timed as a whole: from the start of the first
//! thread to the end of the last.

use std::{
    hint::black_box,
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use async_drain::Drain;
use async_drain_bench::{
    figures::{Bound, Figures},
    paired::Ratios,
    race::order,
};
use swansong::Swansong;
use tokio_util::sync::CancellationToken;

const OURS: &str = "async-drain";
const ROUNDS: usize = 101;
/// How long a thread works in a round, so that a turn on the processor is not what is measured.
const ROUND: Duration = Duration::from_millis(4);

/// Creates and drops so many children.
type Work = Box<dyn Fn(usize) + Sync>;

fn main() {
    let mut figures = Figures::new("children", "time, 1 = swansong's on as many threads");
    let (drain, swansong, token) = (Drain::new(), Swansong::new(), CancellationToken::new());
    let tracked = (Drain::tracked(), Swansong::with_guard_report());
    let alone: Vec<(&str, Work)> = vec![
        (
            "swansong",
            repeat({
                let parent = swansong.clone();
                move || parent.child()
            }),
        ),
        (
            OURS,
            repeat({
                let parent = drain.clone();
                move || parent.child()
            }),
        ),
        ("CancellationToken", repeat(move || token.child_token())),
    ];
    let with_guard: Vec<(&str, Work)> = vec![
        (
            "swansong",
            repeat(move || {
                let child = swansong.child();
                (child.guard(), child)
            }),
        ),
        (
            OURS,
            repeat(move || {
                let child = drain.child();
                (child.guard(), child)
            }),
        ),
    ];
    let with_tracked: Vec<(&str, Work)> = vec![
        (
            "swansong",
            repeat(move || {
                let child = tracked.1.child();
                (child.guard(), child)
            }),
        ),
        (
            OURS,
            repeat(move || {
                let child = tracked.0.child();
                (child.guard(), child)
            }),
        ),
    ];
    for (case, contenders) in [
        ("a child", alone),
        ("with a guard", with_guard),
        ("with a tracked guard", with_tracked),
    ] {
        for threads in [1, 2, 4, 8] {
            race(&mut figures, case, &contenders, threads);
        }
    }
    figures.publish();
}

fn repeat<T>(make: impl Fn() -> T + Sync + 'static) -> Work {
    Box::new(move |times| {
        for _ in 0..times {
            drop(black_box(make()));
        }
    })
}

/// Races `contenders`, of which the first is the unit and the second is ours.
fn race(figures: &mut Figures, case: &str, contenders: &[(&'static str, Work)], threads: usize) {
    let times: Vec<_> = contenders.iter().map(|(_, work)| calibrate(work)).collect();
    let mut ratios = vec![Ratios::new(); contenders.len()];
    for number in 0..ROUNDS {
        let mut took = vec![0.0; contenders.len()];
        for i in order(number, contenders.len()) {
            took[i] = round(&contenders[i].1, threads, times[i]);
        }
        for (ratios, took_by) in ratios.iter_mut().zip(&took) {
            ratios.add(*took_by, took[0]);
        }
    }
    let case = format!("{case} ×{threads}");
    for ((name, _), ratios) in contenders.iter().zip(&ratios) {
        figures.add(&case, name, ratios.median());
    }
    figures.interval(
        format!("{case}, times swansong's"),
        &ratios[1],
        Bound::AtMost(1.0),
    );
}

fn calibrate(work: &Work) -> usize {
    let mut times = 64;
    loop {
        let start = Instant::now();
        work(times);
        let elapsed = start.elapsed();
        if elapsed > ROUND / 4 {
            return (times as f64 * ROUND.as_secs_f64() / elapsed.as_secs_f64()) as usize + 1;
        }
        times *= 2;
    }
}

/// Returns the nanoseconds for each of `times` on each of `threads`.
fn round(work: &Work, threads: usize, times: usize) -> f64 {
    let barrier = Barrier::new(threads + 1);
    let elapsed = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    work(64);
                    barrier.wait();
                    work(times);
                })
            })
            .collect();
        let start = {
            barrier.wait();
            Instant::now()
        };
        for thread in running {
            thread.join().expect("no panic");
        }
        start.elapsed()
    });
    elapsed.as_nanos() as f64 / (times * threads) as f64
}
