//! What a guard costs: to make and drop, to clone and drop, tracked, from a child, and on several
//! threads (C1 C2).
//!
//! Beside every other way to count work that we know of, and the floor: two atomic
//! read-modify-writes on a line that no other core writes.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use async_drain::Drain;
use async_drain_bench::{
    figures::{Bound, Figures},
    race::{Contender, alone, together},
};
use async_shutdown::ShutdownManager;
use crossbeam_utils::CachePadded;
use hyper_util::server::graceful::GracefulShutdown;
use swansong::Swansong;
use tokio_graceful::Shutdown;
use tokio_util::task::TaskTracker;

/// `ci/bench.sh` builds this bench twice, since what is inlined decides what a guard costs.
const NAME: &str = match option_env!("THIN_LTO") {
    Some(_) => "guard-lto",
    None => "guard",
};
const OURS: &str = "async-drain";
const FLOOR: &str = "two atomics";
const ROUNDS: usize = 300;

fn main() {
    let mut figures = Figures::new(NAME, "time, 1 = two atomics on a private line");
    one_thread(&mut figures);
    several_threads(&mut figures);
    several_threads_tracked(&mut figures);
    figures.publish();
}

fn two_atomics<'a>() -> Contender<'a> {
    Contender::new(FLOOR, |_| {
        let line = Box::new(CachePadded::new(AtomicUsize::new(1)));
        move || {
            line.fetch_add(1, Ordering::Relaxed);
            line.fetch_sub(1, Ordering::Release)
        }
    })
}

/// Creates and drops a guard of each contender; each call for a thread gets what `shared` says.
fn makers<'a>() -> Vec<Contender<'a>> {
    let arc = Arc::new(());
    let drain = Drain::new();
    let swansong = Swansong::new();
    let tracker = TaskTracker::new();
    let hyper = Arc::new(GracefulShutdown::new());
    let (signal, watch) = linkerd_drain::channel();
    let group = crossbeam_utils::sync::WaitGroup::new();
    let manager = ShutdownManager::<()>::new();
    let graceful = Shutdown::no_signal();
    let waitgroup = waitgroup::WaitGroup::new();
    vec![
        Contender::new(OURS, move |_| {
            let drain = drain.clone();
            move || drain.guard()
        }),
        Contender::new("swansong", move |_| {
            let swansong = swansong.clone();
            move || swansong.guard()
        }),
        Contender::new("Arc clone", move |_| {
            let arc = Arc::clone(&arc);
            move || Arc::clone(&arc)
        }),
        Contender::new("TaskTracker", move |_| {
            let tracker = tracker.clone();
            move || tracker.token()
        }),
        Contender::new("hyper-util", move |_| {
            let hyper = Arc::clone(&hyper);
            move || hyper.watcher()
        }),
        Contender::new("linkerd drain", move |_| {
            black_box(&signal);
            let watch = watch.clone();
            move || watch.clone()
        }),
        Contender::new("crossbeam", move |_| {
            let group = group.clone();
            move || group.clone()
        }),
        Contender::new("async-shutdown", move |_| {
            let manager = manager.clone();
            move || manager.delay_shutdown_token()
        }),
        Contender::new("tokio-graceful", move |_| {
            let guard = graceful.guard();
            move || guard.clone()
        }),
        Contender::new("waitgroup", move |_| {
            let worker = waitgroup.worker();
            move || worker.clone()
        }),
    ]
}

fn one_thread(figures: &mut Figures) {
    let mut contenders = vec![two_atomics()];
    contenders.extend(makers());
    let times = record(figures, "make", &contenders);
    let (floor, ours, theirs) = (times[0], times[1], times[2]);
    figures.target(
        "a guard on one thread, times the floor",
        ours / floor,
        Bound::AtMost(1.15),
    );
    figures.target(
        "times faster than swansong",
        theirs / ours,
        Bound::AtLeast(2.5),
    );

    let guard = Drain::new().guard().expect("running");
    let theirs = Swansong::new().guard();
    let token = TaskTracker::new().token();
    let manager = ShutdownManager::<()>::new();
    let delay = manager.delay_shutdown_token().expect("running");
    record(
        figures,
        "clone",
        &[
            two_atomics(),
            Contender::new(OURS, |_| || guard.clone()),
            Contender::new("swansong", |_| || theirs.clone()),
            Contender::new("TaskTracker", |_| || token.clone()),
            Contender::new("async-shutdown", |_| || delay.clone()),
        ],
    );

    let parent = (Drain::new(), Swansong::new());
    let child = (parent.0.child(), parent.1.child());
    record(
        figures,
        "in a child",
        &[
            two_atomics(),
            Contender::new(OURS, |_| || child.0.guard()),
            Contender::new("swansong", |_| || child.1.guard()),
        ],
    );

    let drain = Drain::tracked();
    let theirs = Swansong::with_guard_report();
    let tracked = [
        two_atomics(),
        Contender::new(OURS, |_| || drain.guard()),
        Contender::new("swansong", |_| || theirs.guard()),
    ];
    let times = record(figures, "tracked", &tracked);
    figures.target(
        "tracked, times swansong's with its report",
        times[1] / times[2],
        Bound::AtMost(0.33),
    );
    let labeled = [
        two_atomics(),
        Contender::new(OURS, |_| || drain.guard().map(|g| g.labeled("GET /export"))),
    ];
    let labeled = record(figures, "labeled", &labeled);
    figures.target(
        "tracked and labeled, times swansong's with its report",
        (labeled[1] / labeled[0]) / (times[2] / times[0]),
        Bound::AtMost(0.33),
    );
}

/// Races `contenders`, the floor first, and keeps their times in units of it.
fn record(figures: &mut Figures, case: &str, contenders: &[Contender<'_>]) -> Vec<f64> {
    let times = alone(contenders, ROUNDS);
    for (contender, time) in contenders.iter().zip(&times) {
        figures.add(case, contender.name, time / times[0]);
    }
    times
}

fn several_threads(figures: &mut Figures) {
    for threads in threads() {
        let private: Vec<_> = (0..threads).map(|_| Drain::new()).collect();
        let mut contenders = vec![
            two_atomics(),
            Contender::new("async-drain, each its own", |thread| {
                let drain = private[thread].clone();
                move || drain.guard()
            }),
        ];
        contenders.extend(makers());
        let times = together(&contenders, threads, ROUNDS / 5);
        let case = format!("make ×{threads}");
        for (contender, time) in contenders.iter().zip(&times) {
            figures.add(&case, contender.name, time / times[0]);
        }
        figures.target(
            format!("shared by {threads}, times private throughput"),
            times[1] / times[2],
            Bound::AtLeast(0.9),
        );
    }
}

/// Guards with label, place and age; swansong's have a place.
fn several_threads_tracked(figures: &mut Figures) {
    for threads in threads() {
        let tracked = || Drain::tracked();
        let private: Vec<_> = (0..threads).map(|_| tracked()).collect();
        let theirs: Vec<_> = (0..threads)
            .map(|_| Swansong::with_guard_report())
            .collect();
        let shared = (tracked(), Swansong::with_guard_report());
        let contenders = [
            two_atomics(),
            Contender::new("async-drain, each its own", |thread| {
                let drain = private[thread].clone();
                move || drain.guard().map(|g| g.labeled("GET /export"))
            }),
            Contender::new(OURS, |_| {
                let drain = shared.0.clone();
                move || drain.guard().map(|g| g.labeled("GET /export"))
            }),
            Contender::new("swansong, each its own", |thread| {
                let swansong = theirs[thread].clone();
                move || swansong.guard()
            }),
            Contender::new("swansong", |_| {
                let swansong = shared.1.clone();
                move || swansong.guard()
            }),
        ];
        let times = together(&contenders, threads, ROUNDS / 5);
        let case = format!("labeled ×{threads}");
        for (contender, time) in contenders.iter().zip(&times) {
            figures.add(&case, contender.name, time / times[0]);
        }
        figures.target(
            format!("tracked and labeled, shared by {threads}, times private throughput"),
            times[1] / times[2],
            Bound::AtLeast(0.9),
        );
        figures.target(
            format!("tracked and labeled, shared by {threads}, times swansong's with its report"),
            times[2] / times[4],
            Bound::AtMost(0.33),
        );
    }
}

/// Returns the numbers of threads: one, two, four and so on, up to all cores.
fn threads() -> Vec<usize> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let doubled = std::iter::successors(Some(1), |n| Some(n * 2));
    let mut threads: Vec<_> = doubled.take_while(|n| *n < cores).collect();
    threads.push(cores);
    threads
}
