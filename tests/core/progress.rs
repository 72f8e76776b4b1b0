//! What the hooks of a shutdown are told, and when.

use std::{
    future::{pending, poll_fn, ready},
    pin::{Pin, pin},
    sync::{Arc, Mutex, mpsc},
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use async_channel::{Receiver, unbounded};
use async_drain::{Drain, Phase, Progress, Report, Shutdown, net::idle::ConnectionGuard};
use futures_lite::{
    future::{block_on, or, poll_once, zip},
    stream,
};
use testkit::polling::{self, cell, on_wake};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Runs a shutdown without a server, with the watchdog or without.
pub(crate) async fn run_shutdown(shutdown: Shutdown, watched: bool) -> Report {
    if watched {
        // Its thread has a clock of its own.
        (shutdown.run_with_watchdog(pending::<()>(), |_| ()).await).unwrap()
    } else {
        shutdown.run(pending::<()>()).await
    }
}

/// A clock that the test moves.
#[derive(Clone)]
pub(crate) struct Clock(Arc<Mutex<State>>);

struct State {
    now: Instant,
    waiting: Vec<(Instant, Waker)>,
    timers: usize,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            now: Instant::now(),
            waiting: Vec::new(),
            timers: 0,
        })))
    }

    pub(crate) fn timer(
        &self,
    ) -> impl Fn(Instant) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + 'static {
        let clock = self.clone();
        move |deadline| {
            clock.0.lock().unwrap().timers += 1;
            let clock = clock.clone();
            Box::pin(poll_fn(move |cx| {
                let mut state = clock.0.lock().unwrap();
                if deadline <= state.now {
                    return Poll::Ready(());
                }
                state.waiting.push((deadline, cx.waker().clone()));
                Poll::Pending
            }))
        }
    }

    pub(crate) fn advance(&self, by: Duration) {
        let mut state = self.0.lock().unwrap();
        state.now += by;
        let now = state.now;
        let due = state.waiting.extract_due(now);
        drop(state);
        due.into_iter().for_each(Waker::wake);
    }

    /// Returns how many timers were asked for so far.
    fn timers(&self) -> usize {
        self.0.lock().unwrap().timers
    }
}

trait ExtractDue {
    fn extract_due(&mut self, now: Instant) -> Vec<Waker>;
}

impl ExtractDue for Vec<(Instant, Waker)> {
    fn extract_due(&mut self, now: Instant) -> Vec<Waker> {
        let (due, later) = self.drain(..).partition(|(deadline, _)| *deadline <= now);
        *self = later;
        let due: Vec<(Instant, Waker)> = due;
        due.into_iter().map(|(_, waker)| waker).collect()
    }
}

/// Returns a hook that sends what it is told, and the receiver of that.
pub(crate) fn told() -> (impl FnMut(&Progress) + Send + 'static, Receiver<Progress>) {
    let (tell, told) = unbounded();
    let hook = move |progress: &Progress| tell.try_send(progress.clone()).unwrap();
    (hook, told)
}

/// Returns what the hook was told and is still to be seen. That is all once the shutdown is over.
pub(crate) fn all(told: &Receiver<Progress>) -> Vec<Progress> {
    std::iter::from_fn(|| told.try_recv().ok()).collect()
}

pub(crate) fn lines(told: &Receiver<Progress>) -> Vec<String> {
    all(told).iter().map(ToString::to_string).collect()
}

/// Runs a shutdown, which must go on, until its hook is told something.
pub(crate) fn next(
    run: &mut Pin<&mut impl Future<Output = Report>>,
    told: &Receiver<Progress>,
) -> Progress {
    let ends = async { panic!("it has ended: {}", run.await) };
    block_on(or(ends, async { told.recv().await.expect("a hook") }))
}

/// Polls a shutdown, which must go on.
pub(crate) fn goes_on(run: &mut Pin<&mut impl Future<Output = Report>>) {
    // Some events take a poll of their own.
    for _ in 0..3 {
        if let Some(report) = block_on(poll_once(run.as_mut())) {
            panic!("it has ended: {report}");
        }
    }
}

/// An operator sees each phase when it begins, what brought it about, and how long it may last.
#[test]
fn a_hook_is_told_of_each_phase_and_of_its_cause() {
    let (drain, clock) = (Drain::new(), Clock::new());
    let (hook, told) = told();
    let (ask, requests) = unbounded::<()>();
    let shutdown = Shutdown::with_timer(&drain, clock.timer())
        .on(requests)
        .lame_duck(5 * SECOND)
        .grace(MINUTE)
        .abort_grace(20 * SECOND)
        .on_progress(Duration::MAX, hook);
    let work = drain.guard().unwrap();
    let mut run = pin!(shutdown.run(pending::<()>()));
    let seen = next(&mut run, &told).to_string();
    assert_eq!(seen, "started: running, 1 in flight");

    ask.try_send(()).unwrap();
    let seen = next(&mut run, &told);
    assert_eq!(seen.phase, Phase::LameDuck);
    assert!(!seen.warning && !seen.ready);
    assert_eq!(
        seen.to_string(),
        "a request to stop: lame duck, 1 in flight, at most 85 s"
    );
    assert!(seen.phase_left.unwrap() > 4 * SECOND && seen.phase_left.unwrap() <= 5 * SECOND);

    clock.advance(6 * SECOND);
    let seen = next(&mut run, &told).to_string();
    let text = "lame duck is over: draining, 1 in flight, at most 80 s";
    assert_eq!(seen, text);

    thread::sleep(Duration::from_millis(260));
    ask.try_send(()).unwrap();
    let seen = next(&mut run, &told);
    assert!(seen.warning);
    let text = "a request to stop, request 2 to stop: aborting, 1 in flight, at most 20 s";
    assert_eq!(seen.to_string(), text);
    assert_eq!(seen.stragglers().total(), 1);

    drop(work);
    assert!(!block_on(run).is_drained());
    assert_eq!(lines(&told), ["1 abandoned: drained"]);
}

/// Logs and status lines take one line, whatever user code calls its work.
#[test]
fn progress_is_one_line() {
    let drain = Drain::tracked();
    let work = drain.guard().unwrap().labeled("GET /\r\n/export");
    let (hook, told) = told();
    let shutdown = Shutdown::with_timer(&drain, |_| pending::<()>())
        .on_progress(SECOND, hook)
        .then("flush", SECOND, || async { panic!("left: 1\n right: 2") });
    let mut run = pin!(shutdown.run(pending::<()>()));
    drain.begin();
    let seen = next(&mut run, &told).to_string();
    assert!(seen.contains(", oldest GET /  /export 0 s"), "{seen}");
    drop(work);
    let _ = block_on(run);
    let seen = lines(&told);
    let text = "it panicked: left: 1  right: 2: drained";
    assert!(seen.last().unwrap().ends_with(text), "{seen:?}");
}

/// The other causes, and the end of a shutdown whose work ignores it.
#[test]
fn a_hook_is_told_why_a_shutdown_began_and_what_was_left() {
    let drain = Drain::new();
    let _work = drain.guard().unwrap();
    let (hook, told) = told();
    let shutdown = Shutdown::with_timer(&drain, |_| ready(()))
        .grace(9 * SECOND)
        .on_progress(Duration::MAX, hook);
    let report = block_on(shutdown.run(ready(Err::<(), _>("no port is free"))));
    assert_eq!(report.still_running(), 1);
    assert_eq!(
        lines(&told),
        [
            "started: running, 1 in flight",
            "the server failed: draining, 1 in flight, at most 10 s",
            "the grace period is over: aborting, 1 in flight, at most 1 s",
            "the abort grace is over: aborting, 1 in flight",
        ]
    );

    let drain = Drain::new();
    drain.begin();
    let (hook, told) = self::told();
    let shutdown = Shutdown::with_timer(&drain, |_| ready(())).on_progress(Duration::MAX, hook);
    assert!(block_on(shutdown.run(pending::<()>())).is_drained());
    assert_eq!(
        lines(&told),
        [
            "begun by the program: draining, 0 in flight, at most 26 s",
            "all work has finished: drained",
        ]
    );
}

/// Work that ends as soon as it is told to abort was cut all the same, and the event says so.
#[test]
fn a_hook_is_told_of_work_that_aborting_ends_at_once() {
    let drain = Drain::new();
    let work = cell();
    *work.lock().unwrap() = Some([drain.guard(), drain.guard()]);
    let end = on_wake(move || drop(work.lock().unwrap().take()));
    let mut aborting = drain.until_aborting();
    assert!(!polling::ready(&mut aborting, &end));
    let (hook, told) = told();
    let shutdown = Shutdown::with_timer(&drain, |_| ready(())).on_progress(Duration::MAX, hook);
    drain.begin();
    let report = block_on(shutdown.run(pending::<()>()));
    assert_eq!(report.stragglers().total(), 2);
    assert_eq!(
        lines(&told)[1..],
        [
            "the grace period is over: aborting, 2 in flight, at most 1 s",
            "2 abandoned: drained",
        ]
    );
}

/// Between events a hook is called once in its interval, and not if nothing has changed.
#[test]
fn a_hook_is_told_of_changes_at_most_once_in_its_interval() {
    let (drain, clock) = (Drain::new(), Clock::new());
    let (often, told_often) = told();
    let (seldom, told_seldom) = told();
    // Called each second, so that no call of the other hooks stays in the queue, where a later one
    // would replace it.
    let (mut asking, asked) = told();
    let shutdown = Shutdown::with_timer(&drain, clock.timer())
        .grace(Duration::MAX)
        .on_progress(SECOND, often)
        .on_progress(3 * SECOND, seldom)
        .on_progress(Duration::MAX, move |progress| {
            progress.call_again_within(SECOND);
            asking(progress);
        });
    let mut work: Vec<_> = (0..10).map(|_| drain.guard().unwrap()).collect();
    let mut run = pin!(shutdown.run(pending::<()>()));
    drain.begin();
    next(&mut run, &told_often);
    next(&mut run, &told_seldom);
    next(&mut run, &asked);
    let mut often = Vec::new();
    for second in 0..6 {
        // Half of the time nothing changes.
        if second < 3 {
            work.pop();
        }
        goes_on(&mut run);
        // Timers are relative to the real clock, which has hardly moved.
        clock.advance(SECOND + Duration::from_millis(300));
        goes_on(&mut run);
        if second < 3 {
            often.push(next(&mut run, &told_often));
        }
        next(&mut run, &asked);
    }
    drop(work);
    let _ = block_on(run);
    often.extend(all(&told_often));
    let between_events = |told: Vec<Progress>| {
        let between = told.into_iter().filter(|told| told.event.is_none());
        between.map(|told| told.in_flight).collect::<Vec<_>>()
    };
    assert_eq!(between_events(often), [9, 8, 7]);
    assert_eq!(between_events(all(&told_seldom)), [7]);
}

/// A program that is not being stopped has no timer for its hooks, unless one of them asks.
#[test]
fn no_timer_runs_for_a_hook_while_running_unless_it_asks() {
    let (drain, clock) = (Drain::new(), Clock::new());
    let (hook, told) = told();
    let shutdown = Shutdown::with_timer(&drain, clock.timer()).on_progress(SECOND, hook);
    let mut run = pin!(shutdown.run(pending::<()>()));
    next(&mut run, &told);
    goes_on(&mut run);
    assert_eq!(clock.timers(), 0);

    let (drain, clock) = (Drain::new(), Clock::new());
    let (hook, told) = self::told();
    let (mut asking, asked) = self::told();
    let shutdown = Shutdown::with_timer(&drain, clock.timer())
        .on_progress(SECOND, hook)
        .on_progress(Duration::MAX, move |progress| {
            progress.call_again_within(SECOND);
            asking(progress);
        });
    let mut run = pin!(shutdown.run(pending::<()>()));
    next(&mut run, &told);
    assert!(next(&mut run, &asked).event.is_some());
    for _ in 1..4 {
        goes_on(&mut run);
        assert!(asked.is_empty(), "nothing changes");
        clock.advance(SECOND + Duration::from_millis(100));
        let called = next(&mut run, &asked);
        assert!(called.event.is_none() && called.polled);
    }
    assert!(told.is_empty(), "the other hook did not ask");
    drain.begin();
    let _ = block_on(run);
}

/// L3: a hook that blocks, e.g. on a log that nobody reads, delays the end by a second at most, and
/// the report says where it comes from.
#[test]
fn a_hook_that_blocks_does_not_hold_up_the_shutdown() {
    for watched in [false, true] {
        let drain = Drain::new();
        let _work = drain.guard().unwrap();
        let (blocking, block) = mpsc::channel::<()>();
        let (mut hook, told) = told();
        let shutdown = Shutdown::new(&drain)
            .on(stream::once(()))
            .grace(Duration::from_millis(20))
            .abort_grace(Duration::from_millis(20))
            .on_progress(Duration::from_millis(10), move |progress| {
                hook(progress);
                let _ = block.recv();
            })
            .then("flush", SECOND, || ready(()));
        let began = Instant::now();
        let report = block_on(run_shutdown(shutdown, watched));
        let took = began.elapsed();
        assert!(took >= SECOND && took < 10 * SECOND, "{took:?}");
        let text = report.to_string();
        let start = "a progress hook has not returned, from tests/core/progress.rs:";
        assert!(text.starts_with(start), "{text}");
        assert!(report.steps()[0].failure.is_none(), "{text}");
        // It has been told once. What it missed in between is told as one.
        assert_eq!(told.len(), 1);
        drop(blocking);
        let told = block_on(async {
            let mut told_all = Vec::new();
            while let Ok(progress) = told.recv().await {
                told_all.push(progress);
            }
            told_all
        });
        let events = told.iter().filter(|told| told.event.is_some()).count();
        assert_eq!(events, 6, "{told:?}");
        assert!(told.len() <= 2 * events, "{told:?}");
    }
}

/// L3: a timer that doesn't go by the clock leaves the hooks their second.
#[test]
fn a_slow_hook_is_told_everything_whatever_the_timer_does() {
    let drain = Drain::new();
    let (mut hook, told) = told();
    let shutdown = Shutdown::with_timer(&drain, |_| ready(()))
        .on(stream::once(()))
        .on_progress(Duration::MAX, move |progress| {
            thread::sleep(Duration::from_millis(50));
            hook(progress);
        });
    let report = block_on(shutdown.run(pending::<()>())).to_string();
    assert!(report.starts_with("drained: "), "{report}");
    assert_eq!(
        lines(&told).last().unwrap(),
        "all work has finished: drained"
    );
}

/// A hook ends with its shutdown, if that is dropped before its end as well.
#[test]
fn hooks_are_dropped_with_the_shutdown() {
    for watched in [false, true] {
        let (drain, (hook, told)) = (Drain::new(), told());
        let shutdown = Shutdown::with_timer(&drain, |_| pending::<()>()).on_progress(SECOND, hook);
        let mut run = Box::pin(run_shutdown(shutdown, watched));
        assert!(block_on(poll_once(&mut run)).is_none());
        assert!(block_on(told.recv()).is_ok());
        drop(run);
        assert!(block_on(told.recv()).is_err(), "it is not dropped");
    }
}

/// A service that is slow to start is not ready, and says when it is.
#[test]
fn a_hook_is_told_when_the_last_hold_is_gone() {
    for watched in [false, true] {
        let (drain, (hook, told)) = (Drain::new(), told());
        let holds = ["cold cache", "no database"].map(|why| drain.readiness().hold(why));
        let shutdown = Shutdown::with_timer(&drain, |_| pending::<()>()).on_progress(SECOND, hook);
        let mut run = pin!(run_shutdown(shutdown, watched));
        assert!(!next(&mut run, &told).ready);
        goes_on(&mut run);
        // Another thread wakes the shutdown, which sleeps.
        let warm = thread::spawn(move || drop(holds));
        let ready = next(&mut run, &told);
        assert_eq!(ready.to_string(), "ready: running, 0 in flight");
        assert!(ready.ready);
        warm.join().unwrap();
        drop(drain.readiness().hold("no database"));
        drain.begin();
        assert!(block_on(run).is_drained());
        let phases = all(&told).iter().map(|told| told.phase).collect::<Vec<_>>();
        assert_eq!(phases, [Phase::Draining, Phase::Drained]);
    }
}

/// S6 L3: a stream of requests that panics costs the shutdown nothing but a line.
#[test]
fn a_stream_of_requests_that_panics_is_dropped_and_reported() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    for watched in [false, true] {
        let (drain, (hook, told)) = (Drain::new(), told());
        let (ask, requests) = unbounded::<()>();
        let bomb = Bomb;
        let shutdown = Shutdown::with_timer(&drain, |_| pending::<()>())
            .on(stream::poll_fn(move |_| -> Poll<Option<()>> {
                let _ = &bomb;
                panic!("no socket\nfor it")
            }))
            .on(requests)
            .on_progress(SECOND, hook);
        let mut run = pin!(run_shutdown(shutdown, watched));
        next(&mut run, &told);
        let panicked = next(&mut run, &told);
        assert!(panicked.warning);
        let text = "a stream of requests to stop panicked: no socket for it: running, 0 in flight";
        assert_eq!(panicked.to_string(), text);
        ask.try_send(()).unwrap();
        let report = block_on(run).to_string();
        let text = "a stream of requests to stop panicked: no socket\n\
                    a stream of requests to stop panicked: in the drop\ndrained: ";
        assert!(report.starts_with(text), "{report}");
    }
}

/// S6 L3: streams whose drops panic at the end of the shutdown, even two, don't cost the report.
#[test]
fn streams_of_requests_whose_drops_panic_do_not_cost_the_report() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    for watched in [false, true] {
        let drain = Drain::new();
        let mut shutdown = Shutdown::with_timer(&drain, |_| pending::<()>());
        for _ in 0..2 {
            let bomb = Bomb;
            shutdown = shutdown.on(stream::poll_fn(move |_| -> Poll<Option<()>> {
                let _ = &bomb;
                Poll::Pending
            }));
        }
        drain.begin();
        assert!(block_on(run_shutdown(shutdown, watched)).is_drained());
    }
}

/// S6 L3: a hook that panics, also when it is dropped, costs the shutdown nothing but a line.
#[test]
fn a_hook_that_panics_is_dropped_and_reported() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    let drain = Drain::new();
    let (hook, told) = told();
    let bomb = Bomb;
    let quiet = Bomb;
    let shutdown = Shutdown::with_timer(&drain, |_| pending::<()>())
        .on_progress(SECOND, move |_| {
            let _ = &bomb;
            panic!("no disk\nfor the log");
        })
        .on_progress(SECOND, move |_| {
            let _ = &quiet;
        })
        .on_progress(SECOND, hook);
    let mut run = pin!(shutdown.run(pending::<()>()));
    goes_on(&mut run);
    drain.begin();
    let report = block_on(run);
    assert!(report.is_drained());
    let text = report.to_string();
    assert!(
        text.starts_with("a progress hook panicked: no disk\ndrained: "),
        "{text}"
    );
    assert_eq!(lines(&told).len(), 3);
}

/// Whatever the number of hooks that panic, four lines account for them.
#[test]
fn many_hooks_that_panic_have_four_lines() {
    for hooks in [1, 4, 5, 9] {
        let drain = Drain::new();
        let mut shutdown = Shutdown::with_timer(&drain, |_| pending::<()>());
        for hook in 0..hooks {
            shutdown = shutdown.on_progress(SECOND, move |_| panic!("hook {hook}"));
        }
        let mut run = pin!(shutdown.run(pending::<()>()));
        goes_on(&mut run);
        drain.begin();
        let text = block_on(run).to_string();
        let mut expected: Vec<_> = (0..hooks.min(4))
            .map(|hook| format!("a progress hook panicked: hook {hook}"))
            .collect();
        if hooks > 4 {
            expected[3] = format!("{} (and {} more)", expected[3], hooks - 4);
        }
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..lines.len() - 1], expected);
    }
}

/// People wonder why a drain with nothing in flight goes on: connections that are idle are shown.
#[test]
fn idle_connections_are_counted_apart_from_work() {
    for drain in [Drain::new(), Drain::tracked()] {
        let (child, other) = (drain.child(), drain.child());
        let mut connections: Vec<_> = (0..6)
            .map(|n| ConnectionGuard::new([&drain, &child][n % 2].guard().unwrap()))
            .collect();
        let work = (drain.guard().unwrap(), other.guard().unwrap());
        let mut ended: Vec<_> = (0..9)
            .map(|_| ConnectionGuard::new(drain.guard().unwrap()))
            .collect();
        connections[..4].iter_mut().for_each(ConnectionGuard::rest);
        ended[..5].iter_mut().for_each(ConnectionGuard::rest);
        drop(ended);
        let (hook, told) = told();
        let shutdown = Shutdown::with_timer(&drain, |_| pending::<()>()).on_progress(SECOND, hook);
        let mut run = pin!(shutdown.run(pending::<()>()));
        for phase in [Phase::Running, Phase::Draining] {
            let progress = next(&mut run, &told);
            assert_eq!((progress.in_flight, progress.idle), (4, 4), "{progress}");
            assert_eq!(progress.phase, phase);
            drain.begin();
        }
        drop((connections, work));
        assert!(block_on(run).is_drained());
        let last = all(&told).pop().unwrap();
        assert_eq!((last.in_flight, last.idle), (0, 0));
    }
}

/// The oldest guard is named, wherever it is, and an idle connection is not.
#[test]
fn the_oldest_guard_is_named() {
    let drain = Drain::tracked();
    let idle = || {
        let mut connection = ConnectionGuard::new(drain.guard().unwrap());
        connection.label(|| "idle".into());
        connection.rest();
        connection
    };
    let connection = idle();
    thread::sleep(Duration::from_millis(20));
    let child = drain.child();
    let oldest = child.guard().unwrap().labeled("GET /export");
    thread::sleep(Duration::from_millis(20));
    let younger: Vec<_> = (0..3000)
        .map(|_| drain.guard().unwrap().labeled("GET /"))
        .collect();
    let (hook, told) = told();
    let shutdown = Shutdown::with_timer(&drain, |_| pending::<()>()).on_progress(SECOND, hook);
    let mut run = pin!(shutdown.run(pending::<()>()));
    drain.begin();
    let progress = next(&mut run, &told);
    let named = progress.oldest.clone().unwrap();
    assert_eq!(named.label.as_deref(), Some("GET /export"));
    assert!(
        progress.to_string().contains(", oldest GET /export 0"),
        "{progress}"
    );
    assert!(
        progress
            .to_string()
            .contains(", from tests/core/progress.rs:"),
        "{progress}"
    );
    assert_eq!(progress.stragglers().total(), 3001);
    drop((connection, oldest, younger));
    let _ = block_on(run);
}

/// L3: while the executor is blocked, the hooks are called all the same, and are told that it is.
#[test]
fn a_hook_is_told_whether_the_executor_is_blocked() {
    const OFTEN: Duration = Duration::from_millis(10);
    let drain = Drain::new();
    let _work = drain.guard().unwrap();
    let (mut hook, told) = told();
    let (ask, requests) = unbounded::<()>();
    let shutdown = Shutdown::with_timer(&drain, |_| pending::<()>())
        .on(requests)
        .on_progress(OFTEN, move |progress| {
            progress.call_again_within(OFTEN);
            hook(progress);
        });
    let mut run =
        pin!(async { (shutdown.run_with_watchdog(pending::<()>(), |_| ()).await).unwrap() });
    for _ in 0..5 {
        let _ = std::iter::repeat_with(|| next(&mut run, &told)).find(|told| told.polled);
    }
    // From here on nothing polls it. One answer may be under way.
    ask.try_send(()).unwrap();
    let draining = std::iter::repeat_with(|| told.recv_blocking().unwrap())
        .skip_while(|told| told.phase < Phase::Draining);
    let polled = draining.take(10).filter(|told| told.polled).count();
    assert!(polled <= 1, "{polled}");
    // It is polled again.
    let _ = std::iter::repeat_with(|| next(&mut run, &told)).find(|told| told.polled);
}

/// L3: while the executor is blocked, the watchdog's thread has the hooks called.
#[test]
fn a_blocked_executor_still_tells_its_hooks() {
    let drain = Drain::new();
    let _work = drain.guard().unwrap();
    let (hook, told) = told();
    let (stop, stuck) = mpsc::channel();
    let shutdown = Shutdown::with_timer(&drain, |_| pending::<()>())
        .on(stream::once(()))
        .grace(Duration::from_millis(300))
        .abort_grace(Duration::ZERO)
        .on_progress(Duration::from_millis(20), hook);
    let run = shutdown.run_with_watchdog(pending::<()>(), move |_| stop.send(()).unwrap());
    let blocked = async {
        stuck.recv_timeout(20 * SECOND).unwrap();
    };
    let (report, ()) = block_on(zip(run, blocked));
    assert!(!report.unwrap().is_drained());
    let told = all(&told);
    let between = told.iter().filter(|progress| progress.event.is_none());
    assert!(between.clone().count() >= 2, "{told:?}");
    let late = between.filter(|progress| progress.warning);
    assert!(
        late.count() >= 1,
        "more than half of the grace period has passed"
    );
    let events: Vec<_> = told.iter().filter_map(|p| p.event.as_deref()).collect();
    assert!(events.contains(&"the grace period is over"), "{events:?}");
}
