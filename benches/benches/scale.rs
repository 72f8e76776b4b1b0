//! From a thousand to a million guards, waiters and children: the time and the bytes that each
//! takes to register, to begin and to end (C2 C5).

use std::{
    hint::black_box,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use async_drain::Drain;
use async_drain_bench::{
    counting::{Counting, in_use},
    figures::{Bound, Figures},
    paired::Ratios,
    race::quantile,
};
use event_listener::Event;
use rustix::time::{ClockId, clock_gettime};
use swansong::Swansong;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const OURS: &str = "async-drain";
const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
/// The step whose figure is a number of bytes, not a time.
const BYTES: &str = "bytes";
/// The step that is one for all, not one for each.
const LAST: &str = "last";

/// What each step took: nanoseconds for all, or bytes for all.
type Steps = Vec<(&'static str, f64)>;
type Run = fn(usize) -> Steps;

fn main() {
    guards();
    waiters();
    children();
    lines();
}

fn guards() {
    let mut figures = Figures::new("scale: guards", "time per guard, 1 = ours at 1000; bytes");
    let table = race(
        &mut figures,
        &[
            (OURS, |n| {
                let drain = Drain::new();
                let until = Box::pin(drain.until_drained());
                hold(
                    n,
                    || drain.guard().ok(),
                    until,
                    || {
                        drain.begin();
                    },
                )
            }),
            ("swansong", |n| {
                let swansong = Swansong::new();
                let completion = Box::pin(swansong.clone().into_future());
                hold(
                    n,
                    || Some(swansong.guard()),
                    completion,
                    || {
                        drop(swansong.shut_down());
                    },
                )
            }),
            ("TaskTracker", |n| {
                let tracker = TaskTracker::new();
                let waiting = tracker.clone();
                let until = Box::pin(async move { waiting.wait().await });
                hold(
                    n,
                    || Some(tracker.token()),
                    until,
                    || {
                        tracker.close();
                    },
                )
            }),
        ],
    );
    linear(&mut figures, &table, "make");
    linear(&mut figures, &table, "drop");
    figures.target(
        "the last guard's drop and its wake, among 1000000 times among 1000",
        at(&table, OURS, 3, LAST) / at(&table, OURS, 0, LAST),
        Bound::AtMost(2.0),
    );
    figures.target(
        "bytes a guard",
        at(&table, OURS, 3, BYTES) / 1e6,
        Bound::AtMost(8.1),
    );
    figures.publish();
}

/// Makes `n` guards, begins, drops all but one and then that one, which must wake `until`.
fn hold<G>(
    n: usize,
    guard: impl Fn() -> Option<G>,
    mut until: Pin<Box<impl Future<Output = ()>>>,
    begin: impl FnOnce(),
) -> Steps {
    let woken = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    assert!(until.as_mut().poll(&mut cx).is_pending());

    let before = in_use();
    let mut guards = Vec::with_capacity(n);
    let ((), make) = timed(|| guards.extend((0..n).filter_map(|_| guard())));
    let bytes = in_use().wrapping_sub(before) as f64;
    assert_eq!(guards.len(), n);
    let ((), begin) = timed(begin);
    assert!(until.as_mut().poll(&mut cx).is_pending());
    let last = guards.pop();
    let ((), drops) = timed(|| guards.clear());
    let before = woken.0.load(Ordering::Relaxed);
    evict();
    let ((), last) = timed(|| drop(last));
    assert!(woken.0.load(Ordering::Relaxed) > before);
    assert!(until.as_mut().poll(&mut cx).is_ready());
    vec![
        ("make", make),
        (LAST, last),
        ("drop", drops),
        ("begin", begin),
        (BYTES, bytes),
    ]
}

/// Evicts the caches, as a million guards do and a thousand don't, so that the last drop is as cold
/// after either.
fn evict() {
    static OTHER: LazyLock<Vec<u64>> = LazyLock::new(|| vec![1; 8 << 20]);
    black_box(OTHER.iter().step_by(8).sum::<u64>());
}

fn waiters() {
    let mut figures = Figures::new("scale: waiters", "time per waiter, 1 = ours at 1000; bytes");
    let table = race(
        &mut figures,
        &[
            (OURS, |n| {
                let drain = Drain::new();
                wait(
                    n,
                    || drain.until_draining(),
                    || {
                        drain.begin();
                    },
                )
            }),
            ("swansong", |n| {
                let swansong = Swansong::new();
                let pending = std::future::pending::<()>;
                wait(
                    n,
                    || swansong.interrupt(pending()),
                    || {
                        drop(swansong.shut_down());
                    },
                )
            }),
            ("CancellationToken", |n| {
                let token = CancellationToken::new();
                wait(
                    n,
                    || Box::pin(token.clone().cancelled_owned()),
                    || token.cancel(),
                )
            }),
            ("event-listener", |n| {
                let event = Event::<()>::new();
                wait(
                    n,
                    || event.listen(),
                    || {
                        event.notify(usize::MAX);
                    },
                )
            }),
        ],
    );
    for (size, n) in SIZES.iter().enumerate() {
        let peers = table.iter().filter(|(who, _)| *who != OURS);
        let best = peers.map(|(who, _)| at(&table, who, size, "begin"));
        figures.target(
            format!("to begin, per waiter at {n}, times the best peer"),
            at(&table, OURS, size, "begin") / best.fold(f64::INFINITY, f64::min),
            Bound::AtMost(1.2),
        );
    }
    linear(&mut figures, &table, "wait");
    linear(&mut figures, &table, "begin");
    for (size, n) in SIZES.iter().enumerate() {
        figures.target(
            format!("bytes a waiter at {n}"),
            at(&table, OURS, size, BYTES) / *n as f64,
            Bound::AtMost(100.0),
        );
    }
    figures.publish();
}

/// Polls `n` futures once, begins, polls them again and drops them.
fn wait<F: Future + Unpin>(n: usize, future: impl Fn() -> F, begin: impl FnOnce()) -> Steps {
    let woken = Arc::new(Counter::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let before = in_use();
    let mut futures = Vec::with_capacity(n);
    let ((), register) = timed(|| {
        for _ in 0..n {
            futures.push(future());
            if let Some(last) = futures.last_mut() {
                assert!(Pin::new(last).poll(&mut cx).is_pending());
            }
        }
    });
    let bytes = in_use().wrapping_sub(before) as f64;
    let ((), begin) = timed(begin);
    assert_eq!(woken.0.load(Ordering::Relaxed), n);
    let ((), end) = timed(|| {
        for mut future in futures.drain(..) {
            assert!(matches!(
                Pin::new(&mut future).poll(&mut cx),
                Poll::Ready(_)
            ));
        }
    });
    vec![
        ("wait", register),
        ("begin", begin),
        ("end", end),
        (BYTES, bytes),
    ]
}

fn children() {
    let mut figures = Figures::new("scale: children", "time per child, 1 = ours at 1000; bytes");
    let table = race(
        &mut figures,
        &[
            (OURS, |n| {
                let drain = Drain::new();
                bring_up(
                    n,
                    || drain.child(),
                    || {
                        drain.begin();
                    },
                )
            }),
            ("swansong", |n| {
                let swansong = Swansong::new();
                bring_up(
                    n,
                    || swansong.child(),
                    || {
                        drop(swansong.shut_down());
                    },
                )
            }),
            ("CancellationToken", |n| {
                let token = CancellationToken::new();
                bring_up(n, || token.child_token(), || token.cancel())
            }),
        ],
    );
    linear(&mut figures, &table, "make");
    linear(&mut figures, &table, "begin");
    for (size, n) in SIZES.iter().enumerate() {
        let whole = |who| -> f64 {
            let steps = ["make", "begin", "end"];
            steps.map(|step| at(&table, who, size, step)).iter().sum()
        };
        figures.target(
            format!("to make, begin and end each of {n}, times swansong's"),
            whole(OURS) / whole("swansong"),
            Bound::AtMost(1.0),
        );
        figures.target(
            format!("bytes a child at {n}"),
            at(&table, OURS, size, BYTES) / *n as f64,
            Bound::AtMost(264.0),
        );
    }
    figures.publish();
}

const LENGTHS: [usize; 2] = [1_000, 8_000];

/// Lines of children that begin from the bottom, each of which must not walk what has begun.
fn lines() {
    let mut figures = Figures::new("scale: lines", "time per child that begins, 1 = of 1000");
    let mut ratios = Ratios::new();
    let mut best = [f64::INFINITY; 2];
    for _ in 0..21 {
        let each = LENGTHS.map(|n| begin_from_the_bottom(n) / n as f64);
        ratios.add(each[1], each[0]);
        best = [best[0].min(each[0]), best[1].min(each[1])];
    }
    for (n, time) in LENGTHS.iter().zip(best) {
        figures.add(&n.to_string(), OURS, time / best[0]);
    }
    figures.interval(
        "to begin from the bottom: each of 8000, times each of 1000",
        &ratios,
        Bound::AtMost(1.5),
    );
    figures.publish();
}

fn begin_from_the_bottom(n: usize) -> f64 {
    let mut line = vec![Drain::new()];
    for i in 0..n {
        line.push(line[i].child());
    }
    let ((), time) = timed(|| {
        for drain in line.iter().rev() {
            drain.begin();
        }
    });
    time
}

fn bring_up<C>(n: usize, child: impl Fn() -> C, begin: impl FnOnce()) -> Steps {
    let before = in_use();
    let mut children = Vec::with_capacity(n);
    let ((), make) = timed(|| children.extend((0..n).map(|_| child())));
    let bytes = in_use().wrapping_sub(before) as f64;
    let ((), begin) = timed(begin);
    let ((), end) = timed(|| children.clear());
    vec![
        ("make", make),
        ("begin", begin),
        ("end", end),
        (BYTES, bytes),
    ]
}

/// For each contender and size, the best of each step.
type Table = Vec<(&'static str, Vec<Steps>)>;

fn race(figures: &mut Figures, contenders: &[(&'static str, Run)]) -> Table {
    let mut table: Table = contenders
        .iter()
        .map(|(who, _)| (*who, Vec::new()))
        .collect();
    for n in SIZES {
        let rounds = (2_000_000 / n).clamp(9, 100);
        let mut samples: Vec<Vec<Steps>> = vec![Vec::new(); contenders.len()];
        for round in 0..rounds {
            for i in 0..contenders.len() {
                let i = (i + round) % contenders.len();
                samples[i].push(black_box(contenders[i].1(n)));
            }
        }
        for (samples, (_, rows)) in samples.iter().zip(&mut table) {
            let steps = samples[0].iter().enumerate().map(|(step, (name, _))| {
                let mut values: Vec<_> = samples.iter().map(|s| s[step].1).collect();
                (*name, quantile(&mut values, 0.1))
            });
            rows.push(steps.collect());
        }
    }
    show(figures, &table);
    table
}

fn show(figures: &mut Figures, table: &Table) {
    let unit = table[0].1[0][0].1 / SIZES[0] as f64;
    for (who, rows) in table {
        for (steps, n) in rows.iter().zip(SIZES) {
            for (step, value) in steps {
                let value = match *step {
                    BYTES => value / n as f64,
                    LAST => value / unit,
                    _ => value / n as f64 / unit,
                };
                figures.add(step, &format!("{who}, {n}"), value);
            }
        }
    }
}

fn at(table: &Table, who: &str, size: usize, step: &str) -> f64 {
    let found = table.iter().find(|(name, _)| *name == who);
    let found = found.and_then(|(_, rows)| rows[size].iter().find(|(name, _)| *name == step));
    found.map_or(f64::NAN, |(_, value)| *value)
}

/// Ten times as many should take ten times as long, and no longer than what leaving the caches
/// costs.
fn linear(figures: &mut Figures, table: &Table, step: &str) {
    figures.target(
        format!("{step}: each of 1000000, times each of 100000"),
        at(table, OURS, 3, step) / at(table, OURS, 2, step) / 10.0,
        Bound::AtMost(1.5),
    );
}

/// Returns the nanoseconds that `run` takes: of long ones those on the processor, since other
/// processes may run in between; its clock is too slow for short ones.
fn timed<T>(run: impl FnOnce() -> T) -> (T, f64) {
    const LONG: Duration = Duration::from_millis(1);
    let processor =
        || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default();
    let before = processor();
    let start = Instant::now();
    let result = run();
    let elapsed = start.elapsed();
    let used = processor().saturating_sub(before);
    let elapsed = if elapsed < LONG { elapsed } else { used };
    (result, elapsed.as_nanos() as f64)
}

#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
