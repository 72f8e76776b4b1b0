//! A shutdown whose timer and requests are the test's own.

use std::{
    cell::Cell,
    future::{Pending, pending, ready},
    io,
    panic::panic_any,
    pin::{Pin, pin},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use async_channel::{Receiver, Sender, unbounded};
use async_drain::{Drain, Phase, Report, Shutdown};
use async_io::Timer;
use futures_lite::{
    future::{block_on, or, poll_once, zip},
    stream,
};

/// Fires at once.
fn at_once(_: Instant) -> impl Future {
    ready(())
}

/// L3: work that ignores draining and aborting does not delay the exit, and the report counts it.
#[test]
fn the_report_tells_what_was_abandoned() {
    let drain = Drain::new();
    let guard = drain.guard().unwrap();
    let shutdown = Shutdown::with_timer(&drain, at_once).on(stream::once(()));
    let report = block_on(shutdown.run(pending::<()>()));

    assert!(!report.is_drained());
    assert_eq!(report.in_flight(), 1);
    assert_eq!(report.stragglers().total(), 1);
    assert_eq!(report.still_running(), 1);
    assert!(report.failure().is_none());
    assert_eq!(report.lame_duck(), Duration::ZERO);
    let text = report.to_string();
    let wanted = "still in flight: 1 untracked\naborted: 1 in flight when draining began, 1 abandoned, 1 of them still running;";
    assert!(text.starts_with(wanted), "{text}");
    drop(guard);
}

/// L3: the report counts work that ended when it was aborted as abandoned, but not as still
/// running.
#[test]
fn the_report_tells_what_ended_when_aborted() {
    let drain = Drain::new();
    let guard = drain.guard().unwrap();
    let aborting = drain.until_aborting();
    let server = async {
        aborting.await;
        drop(guard);
    };
    let timer = |deadline: Instant| async move {
        // Only the abort grace is long.
        if deadline > Instant::now() + Duration::from_secs(60) {
            pending::<()>().await;
        }
    };
    let shutdown = Shutdown::with_timer(&drain, timer)
        .on(stream::once(()))
        .grace(Duration::from_secs(1))
        .abort_grace(Duration::from_secs(3600));
    let report = block_on(shutdown.run(server));

    assert!(!report.is_drained());
    assert_eq!(report.stragglers().total(), 1);
    assert_eq!(report.still_running(), 0);
    assert!(!report.to_string().contains("still running"), "{report}");
}

#[test]
fn the_report_tells_why_the_server_failed() {
    let drain = Drain::new();
    let shutdown = Shutdown::with_timer(&drain, at_once);
    let report = block_on(shutdown.run(ready(Err::<(), _>("no port is free"))));

    assert_eq!(report.failure().unwrap().to_string(), "no port is free");
    assert!(report.is_drained());
    assert_eq!(report.stragglers().total(), 0);
    let text = report.to_string();
    assert!(
        text.starts_with("the server failed: no port is free\ndrained: "),
        "{text}"
    );
}

/// A closed channel asks for nothing.
#[test]
fn a_stream_of_requests_that_ends_asks_for_nothing() {
    let drain = Drain::new();
    let shutdown = Shutdown::with_timer(&drain, at_once).on(stream::empty::<()>());
    let mut run = pin!(shutdown.run(pending::<()>()));
    assert!(block_on(poll_once(&mut run)).is_none());
    assert_eq!(drain.phase(), Phase::Running);
    drain.begin();
    assert!(block_on(run).is_drained());
}

/// Never fires.
fn never(_: Instant) -> Pending<()> {
    pending()
}

fn channel() -> (Sender<()>, Receiver<()>) {
    unbounded()
}

/// Sends a request that is not merged with the one before.
fn request_later(requests: &Sender<()>) {
    thread::sleep(Duration::from_millis(260));
    requests.try_send(()).unwrap();
}

/// Polls a shutdown, which must go on.
fn goes_on(run: &mut Pin<&mut impl Future<Output = Report>>) {
    // Twice: a request and its effect may take a poll each.
    for _ in 0..2 {
        if let Some(report) = block_on(poll_once(run.as_mut())) {
            panic!("it has ended: {report}");
        }
    }
}

/// L4: wrappers, process groups and supervisors often send one request twice.
#[test]
fn two_requests_at_once_are_one() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    let (ask, requests) = channel();
    let (ask_too, other) = channel();
    let shutdown = Shutdown::with_timer(&drain, never).on(requests).on(other);
    let mut run = pin!(shutdown.run(pending::<()>()));
    for stream in [&ask, &ask, &ask, &ask_too] {
        stream.try_send(()).unwrap();
        goes_on(&mut run);
        assert_eq!(drain.phase(), Phase::Draining);
    }
    request_later(&ask_too);
    goes_on(&mut run);
    assert_eq!(drain.phase(), Phase::Aborting);
    drop(work);
    assert!(!block_on(run).is_drained());
}

/// L4: the second request ends lame duck or draining, whichever phase it finds; it ends aborting if
/// a caller has aborted.
#[test]
fn a_second_request_ends_the_current_phase() {
    let drain = Drain::new();
    let _work = drain.guard().unwrap();
    let (ask, requests) = channel();
    let shutdown = Shutdown::with_timer(&drain, never)
        .on(requests)
        .lame_duck(Duration::from_secs(1));
    let mut run = pin!(shutdown.run(pending::<()>()));
    goes_on(&mut run);
    ask.try_send(()).unwrap();
    goes_on(&mut run);
    assert_eq!(drain.phase(), Phase::LameDuck);
    request_later(&ask);
    goes_on(&mut run);
    assert_eq!(drain.phase(), Phase::Draining);

    let (ask, requests) = channel();
    let mut other = pin!(
        Shutdown::with_timer(&drain, never)
            .on(requests)
            .run(async {})
    );
    drain.abort();
    ask.try_send(()).unwrap();
    goes_on(&mut other);
    request_later(&ask);
    assert_eq!(block_on(other).still_running(), 1);
}

/// L4: beginning by hand does not count as a request: the first request after it cuts nothing, the
/// second does.
#[test]
fn a_request_after_a_beginning_by_hand_cuts_nothing() {
    type Begin = fn(&Drain) -> bool;
    let by_hand: [Begin; 2] = [Drain::begin, Drain::enter_lame_duck];
    for begin in by_hand.into_iter().map(Some).chain([None]) {
        let drain = Drain::new();
        let _work = drain.guard().unwrap();
        let (ask, requests) = channel();
        let shutdown = Shutdown::with_timer(&drain, never)
            .on(requests)
            .lame_duck(Duration::from_secs(1));
        let server = async {
            if begin.is_some() {
                pending::<()>().await;
            }
        };
        let mut run = pin!(shutdown.run(server));
        if let Some(begin) = begin {
            goes_on(&mut run);
            begin(&drain);
        }
        goes_on(&mut run);
        let begun = drain.phase();
        ask.try_send(()).unwrap();
        goes_on(&mut run);
        assert_eq!(drain.phase(), begun);
        request_later(&ask);
        goes_on(&mut run);
        assert!(drain.phase() > begun, "{begun}");
    }
}

/// L4: two shutdowns of one drain don't cut each other's work.
#[test]
fn two_shutdowns_of_one_drain_are_asked_once() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    let shutdown = || {
        Shutdown::with_timer(&drain, never)
            .on(stream::once(()))
            .run(pending::<()>())
    };
    let (mut one, mut other) = (pin!(shutdown()), pin!(shutdown()));
    for _ in 0..2 {
        goes_on(&mut one);
        goes_on(&mut other);
        assert_eq!(drain.phase(), Phase::Draining);
    }
    drop(work);
    assert!(block_on(one).is_drained() && block_on(other).is_drained());
}

/// L4: lame duck that was begun by hand starts the shutdown, and lasts as long as is configured.
#[test]
fn lame_duck_by_hand_starts_the_shutdown() {
    for lame_duck in [Duration::ZERO, Duration::from_secs(1)] {
        let drain = Drain::new();
        let shutdown = Shutdown::with_timer(&drain, at_once).lame_duck(lame_duck);
        let mut run = pin!(shutdown.run(pending::<()>()));
        goes_on(&mut run);
        drain.enter_lame_duck();
        assert!(block_on(poll_once(run)).is_some());
    }
}

/// L4: `on` adds a stream and removes none.
#[test]
fn all_streams_of_requests_are_heard() {
    for heard in 0..2 {
        let drain = Drain::new();
        let streams = [channel(), channel()];
        let shutdown = (streams.iter()).fold(Shutdown::with_timer(&drain, never), |s, (_, r)| {
            s.on(r.clone())
        });
        let mut run = pin!(shutdown.run(pending::<()>()));
        goes_on(&mut run);
        streams[heard].0.try_send(()).unwrap();
        assert!(block_on(run).is_drained());
    }
}

/// L3: a stream that is always ready does not delay the rest of the shutdown.
#[test]
fn a_stream_that_is_always_ready_delays_nothing() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    let shutdown = Shutdown::with_timer(&drain, never).on(stream::repeat(()));
    let mut run = pin!(shutdown.run(pending::<()>()));
    assert!(block_on(poll_once(run.as_mut())).is_none());
    assert_eq!(drain.phase(), Phase::Draining);
    drop(work);
    assert!(block_on(run).is_drained());
}

/// L1: a server is polled in each phase before it is dropped, even if nothing is in flight: it can
/// clean up, and its failure is reported.
#[test]
fn an_idle_server_may_clean_up() {
    for watched in [false, true] {
        let drain = Drain::new();
        let tidied = Cell::new(false);
        let server = async {
            drain.until_draining().await;
            tidied.set(true);
            Err::<(), _>(io::Error::other("the journal can't be flushed"))
        };
        let shutdown = Shutdown::with_timer(&drain, never);
        let mut run = pin!(async {
            if watched {
                (shutdown.run_with_watchdog(server, |_| ()).await).unwrap()
            } else {
                shutdown.run(server).await
            }
        });
        goes_on(&mut run);
        drain.begin();
        let report = block_on(run);
        assert!(tidied.get());
        assert_eq!(
            report.failure().unwrap().to_string(),
            "the journal can't be flushed"
        );
    }
}

/// A server's output may be `!`.
#[test]
fn a_server_that_never_ends_is_a_server() {
    async fn serve() -> ! {
        loop {
            pending::<()>().await;
        }
    }
    let drain = Drain::new();
    drain.begin();
    let shutdown = || Shutdown::with_timer(&drain, never);
    let endless = async {
        loop {
            pending::<()>().await;
        }
    };
    assert!(block_on(shutdown().run(endless)).is_drained());
    assert!(block_on(shutdown().run(serve())).is_drained());
}

/// L3: if a handler goes on blocking after its guard is dropped, the watchdog waits until the
/// budget ends.
#[test]
fn an_executor_that_is_blocked_with_nothing_in_flight_has_its_budget() {
    let drain = Drain::new();
    let guard = drain.guard().unwrap();
    let server = async {
        drain.until_draining().await;
        drop(guard);
        thread::sleep(Duration::from_millis(600));
    };
    let shutdown = Shutdown::with_timer(&drain, never).on(stream::once(()));
    let (telling, told) = mpsc::channel();
    let stuck = move |report: &Report| telling.send(report.to_string()).unwrap();
    let report = block_on(shutdown.run_with_watchdog(server, stuck)).unwrap();
    assert!(report.is_drained(), "{report}");
    // The watchdog drops its sender unused.
    assert_eq!(told.recv().ok(), None);
}

/// L3: the watchdog gives up when the budget ends, or with the second request.
#[test]
fn an_executor_that_stays_blocked_is_given_up() {
    for (grace, ask_again) in [(Duration::from_millis(300), false), (Duration::MAX, true)] {
        let drain = Drain::new();
        let (ask, requests) = channel();
        let (telling, told) = mpsc::channel();
        let shutdown = Shutdown::with_timer(&drain, never)
            .on(requests)
            .grace(grace)
            .abort_grace(Duration::ZERO);
        let stuck = move |report: &Report| telling.send(report.is_drained()).unwrap();
        let run = shutdown.run_with_watchdog(pending::<()>(), stuck);
        let blocked = async {
            ask.try_send(()).unwrap();
            if ask_again {
                // The first request was seen.
                drain.until_draining().wait();
                request_later(&ask);
            }
            assert!(told.recv_timeout(Duration::from_secs(20)).unwrap());
        };
        // If `stuck` returns, the shutdown goes on once it can.
        let (report, ()) = block_on(zip(run, blocked));
        assert!(report.unwrap().is_drained());
    }
}

/// L3: the report that `stuck` gets says why the server failed.
#[test]
fn the_watchdog_is_told_why_the_server_failed() {
    let drain = Drain::new();
    let _work = drain.guard().unwrap();
    let (telling, told) = mpsc::channel();
    let shutdown = Shutdown::with_timer(&drain, never)
        .grace(Duration::from_millis(1))
        .abort_grace(Duration::from_millis(1));
    let stuck = move |report: &Report| telling.send(report.to_string()).unwrap();
    let run = shutdown.run_with_watchdog(ready(Err::<(), _>("no port is free")), stuck);
    let blocked = async {
        let report = told.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(report.contains("no port is free"), "{report}");
    };
    let (report, ()) = block_on(zip(run, blocked));
    assert!(report.unwrap().failure().is_some());
}

/// S6, L3: a panic in `stuck`, e.g. of `eprintln!` if stderr is closed, costs the shutdown nothing
/// but a line: it ends once the executor is no longer blocked.
#[test]
fn a_stuck_that_panics_does_not_cost_the_report() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in the drop");
        }
    }
    fn without_a_message() {
        panic_any(Bomb);
    }
    let panics: [(fn(), _); 2] = [
        (|| panic!("no stderr\nfor it"), "no stderr"),
        (without_a_message, "it has no message"),
    ];
    for (panic, message) in panics {
        let drain = Drain::new();
        let _work = drain.guard().unwrap();
        drain.begin();
        let (telling, told) = mpsc::channel();
        let shutdown = Shutdown::with_timer(&drain, never)
            .grace(Duration::from_millis(1))
            .abort_grace(Duration::from_millis(1));
        let stuck = move |_: &Report| {
            telling.send(()).unwrap();
            panic();
        };
        let run = shutdown.run_with_watchdog(pending::<()>(), stuck);
        let blocked = async {
            told.recv_timeout(Duration::from_secs(20)).unwrap();
        };
        let too_late = async {
            Timer::after(Duration::from_secs(10)).await;
            panic!("the report is lost");
        };
        let (report, ()) = block_on(or(zip(run, blocked), too_late));
        let text = report.unwrap().to_string();
        let start = format!("the watchdog's `stuck` panicked: {message}\nstill in flight: 1 ");
        assert!(text.starts_with(&start), "{text}");
    }
}

/// Logs and readiness probes show these words.
#[test]
fn phases_and_errors_display_plain_words() {
    let phases = [
        (Phase::Running, "running"),
        (Phase::LameDuck, "lame duck"),
        (Phase::Draining, "draining"),
        (Phase::Aborting, "aborting"),
        (Phase::Drained, "drained"),
    ];
    for (phase, word) in phases {
        assert_eq!(phase.to_string(), word);
    }
    let drained = Drain::new();
    drained.begin();
    assert_eq!(
        drained.guard().unwrap_err().to_string(),
        "drain already finished: no new guards"
    );
}
