//! The ordered steps after the drain.

use std::{
    error::Error,
    fmt,
    future::{Pending, Ready, pending, poll_fn, ready},
    io,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use async_channel::unbounded;
use async_drain::{Drain, Phase, Report, Shutdown, shutdown::StopRequest};
use futures_lite::{
    future::{block_on, poll_once, zip},
    stream,
};

use crate::progress::{Clock, all, goes_on, lines, next, run_shutdown, told};

const SECOND: Duration = Duration::from_secs(1);

/// Never fires.
fn never(_: Instant) -> Pending<()> {
    pending()
}

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<&'static str>>>);

impl Log {
    fn add(&self, what: &'static str) {
        self.0.lock().unwrap().push(what);
    }

    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Adds to a log when it is dropped.
struct Dropped(Log, &'static str);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

fn failures(report: &Report) -> Vec<Option<String>> {
    let steps = report.steps().iter();
    steps
        .map(|step| step.failure.as_ref().map(ToString::to_string))
        .collect()
}

/// Requests finish, then the queue is flushed, then the database is closed; and the server, which
/// uses both, is gone by then.
#[test]
fn steps_run_in_order_after_the_drain_and_before_run_returns() {
    for watched in [false, true] {
        let (drain, log) = (Drain::new(), Log::default());
        let work = drain.guard().unwrap();
        let server = Dropped(log.clone(), "server dropped");
        let server = async move {
            let _server = server;
            pending::<()>().await;
        };
        let (flush, close) = (log.clone(), log.clone());
        let shutdown = Shutdown::with_timer(&drain, never)
            .then("flush", SECOND, move || async move {
                flush.add("flush");
                let mut turns = 3;
                poll_fn(|cx| {
                    turns -= 1;
                    cx.waker().wake_by_ref();
                    if turns == 0 {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
                .await;
                flush.add("flushed");
            })
            .then("close", SECOND, move || {
                close.add("close");
                ready(Ok::<(), io::Error>(()))
            });
        let mut run = pin!(async {
            if watched {
                shutdown.run_with_watchdog(server, |_| ()).await.unwrap()
            } else {
                shutdown.run(server).await
            }
        });
        goes_on(&mut run);
        drain.begin();
        goes_on(&mut run);
        assert!(log.take().is_empty(), "work is in flight");
        drop(work);
        let report = block_on(run);
        let order = ["server dropped", "flush", "flushed", "close"];
        assert_eq!(log.take(), order);
        assert_eq!(failures(&report), [None, None]);
        assert_eq!(report.steps()[0].name, "flush");
        assert!(report.is_drained());
        assert!(report.to_string().contains(", steps "), "{report}");
    }
}

/// L3: a step that fails, panics or hangs stops nothing after it, and the report names it.
#[test]
fn a_step_that_fails_stops_nothing_after_it() {
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("in its drop");
        }
    }
    fn fails() -> Ready<()> {
        panic!("in the call");
    }
    for watched in [false, true] {
        let (drain, log, clock) = (Drain::new(), Log::default(), Clock::new());
        drain.begin();
        let (hung, last) = (Dropped(log.clone(), "hung dropped"), log.clone());
        let shutdown = Shutdown::with_timer(&drain, clock.timer())
            .then("one", 5 * SECOND, || {
                ready(Err::<(), _>("the disk is full"))
            })
            .then("two", 5 * SECOND, fails)
            .then("three", 5 * SECOND, || {
                let dropped = PanicsWhenDropped;
                poll_fn(move |_| -> Poll<()> {
                    let _ = &dropped;
                    panic!("{} the poll", "in");
                })
            })
            .then("four", 5 * SECOND, || {
                let dropped = PanicsWhenDropped;
                poll_fn(move |_| {
                    let _ = &dropped;
                    Poll::Ready(())
                })
            })
            .then("five", 200 * Duration::from_millis(1), move || async move {
                let _hung = hung;
                pending::<()>().await;
            })
            .then("six", 5 * SECOND, move || {
                last.add("last");
                ready(())
            });
        let mut run = pin!(run_shutdown(shutdown, watched));
        if !watched {
            goes_on(&mut run);
            assert!(log.take().is_empty());
            clock.advance(2 * SECOND);
        }
        let report = block_on(run);
        assert_eq!(log.take(), ["hung dropped", "last"]);
        let failed = failures(&report);
        let failed: Vec<_> = failed.iter().map(Option::as_deref).collect();
        assert_eq!(
            failed,
            [
                Some("the disk is full"),
                Some("it panicked: in the call"),
                Some("it panicked: in the poll"),
                Some("it panicked when it was dropped: in its drop"),
                Some("its budget is used up"),
                None,
            ]
        );
        let text = report.to_string();
        assert!(
            text.starts_with("step one failed after ") && text.contains(" s: the disk is full\n"),
            "{text}"
        );
        assert!(text.contains("\nstep five failed after "), "{text}");
        assert!(!text.contains("six"), "{text}");
        assert!(report.is_drained() && report.failure().is_none());
    }
}

/// L3: an error whose text panics, or that has none, doesn't cost the report.
#[test]
fn an_error_without_a_text_does_not_cost_the_report() {
    #[derive(Debug)]
    struct Textless(bool);
    impl fmt::Display for Textless {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            assert!(self.0, "no text\nhere");
            Err(fmt::Error)
        }
    }
    impl Error for Textless {}
    let drain = Drain::new();
    let (hook, told) = told();
    let shutdown = Shutdown::with_timer(&drain, never)
        .on_progress(Duration::MAX, hook)
        .then("one", SECOND, || ready(Err::<(), _>(Textless(false))))
        .then("two", SECOND, || ready(Err::<(), _>(Textless(true))));
    let report = block_on(shutdown.run(ready(Err::<(), _>(Textless(false)))));
    let text = report.to_string();
    let lines: Vec<_> = text.lines().collect();
    let panicked = "the text of its error panicked: no text";
    assert_eq!(lines[0], format!("the server failed: {panicked}"));
    assert!(lines[1].starts_with("step one failed after ") && lines[1].ends_with(panicked));
    let textless = ": its error has no text";
    assert!(lines[2].starts_with("step two failed after ") && lines[2].ends_with(textless));
    assert!(lines[3].starts_with("drained: "), "{text}");
    let last = all(&told).pop().unwrap().to_string();
    assert!(last.ends_with(": its error has no text: drained"), "{last}");
}

/// A step without time is not run, with and without a watchdog.
#[test]
fn a_step_whose_budget_is_zero_is_not_run() {
    for watched in [false, true] {
        let (drain, log) = (Drain::new(), Log::default());
        let (skipped, last) = (log.clone(), log.clone());
        drain.begin();
        let shutdown = Shutdown::with_timer(&drain, never)
            .then("flush", Duration::ZERO, move || {
                skipped.add("run");
                ready(())
            })
            .then("close", SECOND, move || {
                last.add("last");
                ready(())
            });
        let report = block_on(run_shutdown(shutdown, watched));
        let why = "not run, since its budget is zero".to_owned();
        assert_eq!(failures(&report), [Some(why), None]);
        assert_eq!(log.take(), ["last"]);
    }
}

/// The report stays readable, whatever fails.
#[test]
fn many_steps_that_fail_take_few_lines() {
    let drain = Drain::tracked();
    let guards: Vec<_> = (0..100)
        .map(|n| drain.guard().unwrap().labeled(n.to_string()))
        .collect();
    let mut shutdown = Shutdown::with_timer(&drain, |_| ready(())).on(stream::once(()));
    for n in 0..30 {
        shutdown = shutdown.then(n.to_string(), SECOND, || ready(Err::<(), _>("no")));
    }
    let report = block_on(shutdown.run(ready(Err::<(), _>("no port is free"))));
    let text = report.to_string();
    assert!(text.lines().count() <= 20, "{text}");
    assert!(
        text.contains("\nstep 6 failed after 0 s: no\n23 more steps failed\n"),
        "{text}"
    );
    drop(guards);
}

/// As many failed steps as have lines are named; "1 more steps failed" would take as many.
#[test]
fn a_report_names_eight_failed_steps() {
    for failed in [8, 9] {
        let drain = Drain::new();
        let mut shutdown = Shutdown::with_timer(&drain, |_| ready(())).on(stream::once(()));
        for n in 0..failed {
            shutdown = shutdown.then(n.to_string(), SECOND, || ready(Err::<(), _>("no")));
        }
        let text = block_on(shutdown.run(ready(Ok::<(), &str>(())))).to_string();
        let named = text
            .lines()
            .filter(|line| line.starts_with("step "))
            .count();
        assert_eq!(named, if failed == 8 { 8 } else { 7 }, "{text}");
        assert_eq!(text.contains("more steps failed"), failed > 8, "{text}");
    }
}

/// A request that counts how often it would have ended the process.
struct Request(Arc<AtomicUsize>);

impl StopRequest for Request {
    fn end_process(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// L4: a second request during a step doesn't cut it, and is told to the hooks. A third one ends
/// the process.
#[test]
fn a_second_request_does_not_cut_a_step() {
    for watched in [false, true] {
        let (drain, ended) = (Drain::new(), Arc::new(AtomicUsize::new(0)));
        let (ask, requests) = unbounded();
        let (finish, finished) = unbounded::<()>();
        let (hook, told) = told();
        let shutdown = Shutdown::with_timer(&drain, never)
            .on(requests)
            .on_progress(Duration::MAX, hook)
            .then("flush", Duration::MAX, move || async move {
                finished.recv().await.unwrap();
            })
            .then("close", SECOND, || ready(()));
        let mut run = pin!(run_shutdown(shutdown, watched));
        let mut wait_for = |event: &str| {
            while !next(&mut run, &told).to_string().starts_with(event) {}
        };
        let request = || {
            thread::sleep(Duration::from_millis(260));
            ask.try_send(Request(Arc::clone(&ended))).unwrap();
        };
        request();
        wait_for("the drain is over: step flush");
        request();
        wait_for("a request to stop, request 2 to stop: step flush");
        assert_eq!(ended.load(Ordering::Relaxed), 0);
        request();
        wait_for("a request to stop, request 3 to stop: step flush");
        assert_eq!(ended.load(Ordering::Relaxed), 1);
        finish.try_send(()).unwrap();
        let report = block_on(run);
        assert_eq!(failures(&report), [None, None]);
        let last = lines(&told);
        assert!(last[0].starts_with("step flush took "), "{last:?}");
        assert!(last[0].contains(": step close, "), "{last:?}");
        assert!(last[1].starts_with("step close took "), "{last:?}");
        assert!(last[1].ends_with(" s: drained"), "{last:?}");
    }
}

/// Rows that were written before the abort are flushed as well.
#[test]
fn steps_run_after_a_drain_that_was_given_up() {
    let (drain, log) = (Drain::new(), Log::default());
    let _work = drain.guard().unwrap();
    let flush = log.clone();
    let shutdown = Shutdown::with_timer(&drain, |_| ready(()))
        .on(stream::once(()))
        .then("flush", SECOND, move || async move { flush.add("flush") });
    let report = block_on(shutdown.run(pending::<()>()));
    assert_eq!((report.still_running(), log.take()), (1, vec!["flush"]));
}

/// A step that was not reached is dropped with the shutdown, and does not run.
#[test]
fn a_shutdown_that_is_dropped_runs_no_step() {
    for watched in [false, true] {
        let (drain, log) = (Drain::new(), Log::default());
        let (step, dropped) = (log.clone(), Dropped(log.clone(), "dropped"));
        let shutdown = Shutdown::with_timer(&drain, never).then("flush", SECOND, move || {
            let _ = &dropped;
            async move { step.add("run") }
        });
        let mut run = Box::pin(run_shutdown(shutdown, watched));
        assert!(block_on(poll_once(&mut run)).is_none());
        drop(run);
        assert_eq!(log.take(), ["dropped"]);
    }
}

/// L3: if the executor is blocked, the steps can't run. They are reported as not run, within the
/// budget.
#[test]
fn steps_do_not_run_on_a_blocked_executor() {
    let drain = Drain::new();
    let _work = drain.guard().unwrap();
    let (telling, stuck) = mpsc::channel();
    let log = Log::default();
    let (flush, close) = (log.clone(), log.clone());
    let shutdown = Shutdown::with_timer(&drain, never)
        .on(stream::once(()))
        .grace(Duration::from_millis(100))
        .abort_grace(Duration::from_millis(100))
        .then("flush", Duration::from_millis(200), move || async move {
            flush.add("run");
        })
        .then("close", Duration::from_millis(200), move || async move {
            close.add("run");
        });
    let budget = shutdown.budget().unwrap();
    assert_eq!(budget, Duration::from_millis(600));
    let began = Instant::now();
    let run = shutdown.run_with_watchdog(pending::<()>(), move |report| {
        telling
            .send((began.elapsed(), report.to_string(), failures(report)))
            .unwrap();
    });
    let blocked = async {
        let (took, text, failed) = stuck.recv_timeout(20 * SECOND).unwrap();
        let why = Some("not run, since the executor is blocked".to_owned());
        assert_eq!(failed, [why.clone(), why]);
        assert!(text.starts_with("step flush failed after 0."), "{text}");
        assert!(text.contains(" s: not run, since the executor"), "{text}");
        assert!(took >= budget, "{took:?}");
        // The watchdog waits another quarter of a second, and the machine may be busy.
        assert!(took < budget + 2 * SECOND, "{took:?}");
    };
    let (report, ()) = block_on(zip(run, blocked));
    assert_eq!(report.unwrap().steps().len(), 2);
    assert!(log.take().is_empty(), "its time was up");
}

/// L3: a step that blocks its thread is given up when its budget is used up; a step that waits for
/// a blocked executor has what the phases have left.
#[test]
fn a_step_may_wait_for_the_executor_as_long_as_the_phases_might_have_lasted() {
    let drain = Drain::new();
    let shutdown = Shutdown::with_timer(&drain, never)
        .grace(20 * SECOND)
        .then("flush", Duration::from_millis(50), || async {
            thread::sleep(Duration::from_millis(300));
        })
        .then("close", Duration::from_millis(50), || ready(()));
    let server = async {
        drain.until_draining().await;
        thread::sleep(Duration::from_millis(300));
    };
    drain.begin();
    let report = block_on(shutdown.run_with_watchdog(server, |_| ())).unwrap();
    let failed = failures(&report);
    assert_eq!(failed, [Some("its budget is used up".to_owned()), None]);
}

/// A step runs in the task, also with a watchdog: it may use the executor's own things.
#[test]
fn steps_are_polled_by_the_task_of_run() {
    let drain = Drain::new();
    drain.begin();
    let task = thread::current().id();
    let shutdown = Shutdown::with_timer(&drain, never).then("flush", SECOND, move || {
        assert_eq!(thread::current().id(), task);
        poll_fn(move |_: &mut Context<'_>| {
            assert_eq!(thread::current().id(), task);
            Poll::Ready(())
        })
    });
    let report = block_on(shutdown.run_with_watchdog(pending::<()>(), |_| ())).unwrap();
    assert_eq!(failures(&report), [None]);
}

/// A shutdown that its supervisor would kill is refused at start-up, with the parts named.
#[test]
fn a_budget_that_does_not_fit_is_refused() {
    let shutdown = || Shutdown::with_timer(&Drain::new(), never);
    assert_eq!(shutdown().budget(), Some(26 * SECOND));
    let full = || {
        shutdown()
            .lame_duck(5 * SECOND)
            .then("flush", 3 * SECOND, || ready(()))
            .then("close", SECOND, || ready(()))
    };
    assert_eq!(full().budget(), Some(35 * SECOND));
    assert!(full().within(35 * SECOND).is_ok());
    let error = full().within(30 * SECOND).unwrap_err();
    assert_eq!(
        error.to_string(),
        "lame duck 5 s + grace 25 s + abort grace 1 s + steps 4 s = 35 s, more than 30 s: \
         shorten one, or allow the process more time"
    );
    // What differs doesn't look the same.
    let error = shutdown().within(Duration::from_millis(25_999));
    assert_eq!(
        error.unwrap_err().to_string(),
        "grace 25 s + abort grace 1 s = 26 s, more than 25.999 s: \
         shorten one, or allow the process more time"
    );
    let unlimited = || shutdown().then("flush", Duration::MAX, || ready(()));
    assert_eq!(unlimited().budget(), None);
    assert_eq!(shutdown().grace(Duration::MAX).budget(), None);
    let error = unlimited().within(30 * SECOND).unwrap_err();
    assert_eq!(
        error.to_string(),
        "grace 25 s + abort grace 1 s + steps without a limit, more than 30 s: \
         shorten one, or allow the process more time"
    );
}

/// What nothing limits has no time that is left, at whatever moment a hook is called.
#[test]
fn a_step_without_a_limit_has_no_time_left() {
    let drain = Drain::new();
    let (hook, told) = told();
    let shutdown = Shutdown::with_timer(&drain, never)
        .grace(Duration::ZERO)
        .abort_grace(Duration::MAX)
        .on_progress(Duration::MAX, hook)
        .then("close", Duration::MAX, || ready(()));
    drain.begin();
    let _ = block_on(shutdown.run(pending::<()>()));
    let left: Vec<_> = all(&told).iter().map(|progress| progress.left).collect();
    assert_eq!(left, [None, None, None, Some(Duration::ZERO)]);
}

/// S8: work that ignored the abort and ended during a step is abandoned, and no longer runs.
#[test]
fn the_report_knows_what_ended_during_the_steps() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    let shutdown = Shutdown::with_timer(&drain, ready).then("wait for it", SECOND, move || {
        drop(work);
        ready(())
    });
    drain.begin();
    let report = block_on(shutdown.run(pending::<()>()));
    assert_eq!(report.stragglers().total(), 1);
    assert_eq!(report.still_running(), 0);
}

/// Each step has what is left of its own budget, and the total counts those that follow.
#[test]
fn a_hook_is_told_how_long_steps_may_last() {
    let (drain, clock) = (Drain::new(), Clock::new());
    let (hook, told) = told();
    let shutdown = Shutdown::with_timer(&drain, clock.timer())
        .on_progress(Duration::MAX, hook)
        .then("flush", 4 * SECOND, || ready(()))
        .then("close", 2 * SECOND, || ready(Err::<(), _>("it is locked")));
    drain.begin();
    let report = block_on(shutdown.run(pending::<()>()));
    assert_eq!(failures(&report)[1].as_deref(), Some("it is locked"));
    let told = all(&told);
    let text: Vec<_> = told.iter().map(ToString::to_string).collect();
    assert_eq!(
        text,
        [
            "begun by the program: draining, 0 in flight, at most 32 s",
            "all work has finished: drained, at most 6 s",
            "the drain is over: step flush, at most 6 s",
            "step flush took 0 s: step close, at most 2 s",
            "step close failed after 0 s: it is locked: drained",
        ]
    );
    let phases: Vec<_> = told[1..].iter().map(|progress| progress.phase).collect();
    assert_eq!(phases, [Phase::Drained; 4]);
    let warnings: Vec<_> = told.iter().map(|progress| progress.warning).collect();
    assert_eq!(warnings, [false, false, false, false, true]);
}
