//! What the report says about a shutdown, to people and to the shell.

use std::{
    future::{pending, ready},
    process::{Command, ExitCode, Stdio, Termination},
    sync::Arc,
    time::{Duration, Instant},
};

use async_drain::{Drain, Phase, Report, Shutdown, net::idle::ConnectionGuard};
use futures_lite::{
    future::{block_on, zip},
    stream,
};

const A_MOMENT: Duration = Duration::from_millis(1);

use crate::stragglers::pass;
use testkit::polling::{self, cell, on_wake};

/// Fires as soon as the clock has moved.
async fn a_moment(_: Instant) {
    let asked = Instant::now();
    while asked.elapsed() < A_MOMENT {}
}

/// Returns the phases whose durations the text lists.
fn phases_told(report: &Report) -> Vec<String> {
    let text = report.to_string();
    let (_, times) = text.rsplit_once(';').expect("a list of times");
    let name = |time: &str| time.trim().rsplit_once(' ').expect("a time").0.to_owned();
    times.split(',').map(name).collect()
}

/// Guards that were dropped before draining, or made after it began, are not counted.
#[test]
fn in_flight_counts_the_guards_alive_when_draining_began() {
    let drain = Drain::new();
    let first = drain.guard().unwrap();
    drain.enter_lame_duck();
    let second = drain.child().guard().unwrap();
    drain.begin();
    drop(second);
    let report = block_on(drain.finish(ready(())));
    assert_eq!((report.in_flight(), report.stragglers().total()), (2, 1));
    drop(first);
}

#[test]
fn each_phase_is_reported_with_its_duration() {
    let drain = Drain::new();
    let guard = drain.guard().unwrap();
    let shutdown = Shutdown::with_timer(&drain, a_moment)
        .lame_duck(Duration::from_secs(1))
        .on(stream::once(()));
    let began = Instant::now();
    let report = block_on(shutdown.run(pending::<()>()));
    let all = began.elapsed();

    let took = [report.lame_duck(), report.draining(), report.aborting()];
    assert!(took.iter().all(|took| *took >= A_MOMENT), "{report}");
    assert!(took.iter().sum::<Duration>() <= all, "{report}");
    assert_eq!(phases_told(&report), ["lame duck", "draining", "aborting"]);
    drop(guard);
}

/// Phases that did not happen are not listed.
#[test]
fn a_plain_shutdown_reports_draining_alone() {
    let report = block_on(Drain::new().finish(pending::<()>()));
    let took = (report.lame_duck(), report.aborting());
    assert_eq!(took, (Duration::ZERO, Duration::ZERO));
    assert_eq!(phases_told(&report), ["draining"]);
}

/// If only idle connections are left when time is up, nothing was abandoned.
#[test]
fn idle_connections_are_not_abandoned() {
    let drain = Drain::new();
    let mut connection = ConnectionGuard::new(drain.guard().unwrap());
    connection.rest();
    let report = block_on(drain.finish(ready(())));
    assert!(report.is_drained(), "{report}");
    drop(connection);
}

/// Supervisors read only the status.
#[test]
fn the_exit_status_says_whether_all_went_well() {
    let status = |report: Report| format!("{:?}", report.report());
    let [success, failure] = [ExitCode::SUCCESS, ExitCode::FAILURE].map(|c| format!("{c:?}"));

    let drained = block_on(Drain::new().finish(pending::<()>()));
    assert_eq!(status(drained), success);

    let drain = Drain::new();
    let guard = drain.guard().unwrap();
    let abandoned = block_on(drain.finish(ready(())));
    assert_eq!(status(abandoned), failure);
    drop(guard);

    let drain = Drain::new();
    let shutdown = Shutdown::with_timer(&drain, a_moment);
    let failed = block_on(shutdown.run(ready(Err::<(), _>("no port is free"))));
    assert!(failed.is_drained());
    assert_eq!(status(failed), failure);
}

/// S8: if a connection is dropped at work while the drain is draining, it is abandoned, and the
/// report names it.
#[test]
fn a_connection_dropped_at_work_is_abandoned() {
    let drain = Drain::tracked();
    let serve = |label| {
        let guard = drain.guard().unwrap().labeled(label);
        ConnectionGuard::new(guard).abandoned_if_dropped()
    };
    drop(serve("GET /before the shutdown"));
    let (at_work, mut idle, mut finished, mut closed) = (
        serve("GET /work"),
        serve("idle"),
        serve("ended"),
        serve("GET /unacknowledged"),
    );
    idle.rest();
    closed.rest();
    drain.begin();
    drop(at_work);
    drop(idle);
    finished.finished();
    drop(finished);
    closed.abandon();
    closed.abandon();
    drop(closed);
    let report = block_on(drain.finish(pending::<()>()));
    assert!(!report.is_drained());
    let labels = report.stragglers().iter().map(|s| s.label.as_deref());
    let labels: std::collections::HashSet<_> = labels.map(Option::unwrap).collect();
    assert_eq!(labels, ["GET /work", "GET /unacknowledged"].into());
    assert_eq!(report.stragglers().total(), 2);
    // Nothing was aborted, and nothing is in flight: the text says what happened instead.
    let text = report.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("abandoned: GET /"), "{text}");
    assert!(lines[1].starts_with("abandoned: GET /"), "{text}");
    let summary = "drained with losses: 2 in flight when draining began, 2 abandoned; draining ";
    assert!(lines[2].starts_with(summary), "{text}");
}

/// S8: work that is alive when a caller aborts is abandoned, even if it ends before the report is
/// made.
#[test]
fn work_that_is_aborted_by_hand_is_abandoned() {
    for by_parent in [false, true] {
        let parent = Drain::new();
        let drain = parent.child();
        let guard = drain.guard().unwrap();
        let reacts = async {
            guard.until_aborting().await;
            drop(guard);
        };
        let aborts = async {
            if by_parent {
                parent.abort()
            } else {
                drain.abort()
            }
        };
        let finish = async { drain.finish(pending::<()>()).await };
        let (report, ()) = block_on(zip(finish, async {
            aborts.await;
            reacts.await;
        }));
        assert_eq!(drain.phase(), Phase::Drained);
        assert!(!report.is_drained());
        assert_eq!(
            (report.stragglers().total(), report.still_running()),
            (1, 0)
        );
        assert_eq!(report.report(), ExitCode::FAILURE);
    }
}

/// S8: work is counted before it is woken for aborting, so it counts even if it ends before `abort`
/// returns.
#[test]
fn work_that_ends_when_it_is_told_to_abort_is_abandoned() {
    let drain = Drain::tracked();
    let work = cell();
    *work.lock().unwrap() = Some(drain.guard().unwrap().labeled("GET /work"));
    let mut aborting = drain.until_aborting();
    let waker = on_wake({
        let work = Arc::clone(&work);
        move || drop(work.lock().unwrap().take())
    });
    assert!(!polling::ready(&mut aborting, &waker));
    drain.abort();
    assert_eq!(drain.phase(), Phase::Drained);
    let report = block_on(drain.finish(pending::<()>()));
    let labels: Vec<_> = report
        .stragglers()
        .iter()
        .map(|s| s.label.as_deref())
        .collect();
    assert_eq!(labels, [Some("GET /work")]);
}

/// S8: a child's abandoned work is in the report of its parent, once, if the parent is shutting
/// down, and not if the parent runs.
#[test]
fn a_child_hands_its_record_to_a_parent_that_is_shutting_down() {
    let parent = Drain::new();
    let abandon = || {
        let child = parent.child();
        let below = child.child();
        let guard = below.guard().unwrap();
        child.abort();
        drop(guard);
        assert_eq!(child.phase(), Phase::Drained);
        let report = block_on(child.finish(pending::<()>()));
        assert_eq!(report.stragglers().total(), 1);
        child
    };
    let _before = abandon();
    parent.enter_lame_duck();
    let _kept = abandon();
    drop(abandon());
    let report = block_on(parent.finish(pending::<()>()));
    assert_eq!(report.stragglers().total(), 2);
}

/// S8: a straggler that is dropped after aborting began is not counted twice; a connection that was
/// idle then can still be abandoned later.
#[test]
fn a_connection_is_abandoned_once() {
    let drain = Drain::new();
    let serve = || ConnectionGuard::new(drain.guard().unwrap()).abandoned_if_dropped();
    let (at_work, mut idle, mut answered, mut lost) = (serve(), serve(), serve(), serve());
    let (mut unacknowledged, mut again) = (serve(), serve());
    idle.rest();
    unacknowledged.rest();
    again.rest();
    again.work();
    drain.begin();
    lost.abandon();
    drain.abort();
    answered.rest();
    answered.abandon();
    again.abandon();
    drop((at_work, answered, lost));
    let count = || block_on(drain.finish(ready(()))).stragglers().total();
    assert_eq!(count(), 4);
    idle.work();
    drop(idle);
    assert_eq!(count(), 5);
    unacknowledged.abandon();
    assert_eq!(count(), 6);
}

/// S8: what a child has abandoned counts once, while the child lives and after its end.
#[test]
fn the_abandoned_work_of_a_child_counts_once() {
    let drain = Drain::new();
    let child = drain.child();
    let mut connection = ConnectionGuard::new(child.guard().unwrap());
    drain.begin();
    connection.abandon();
    let count = || block_on(drain.finish(ready(()))).stragglers().total();
    assert_eq!(count(), 1);
    drop((connection, child));
    assert_eq!(count(), 1);
}

/// S8: what is abandoned stays idle, and a connection at work counts once, however often it says
/// so.
#[test]
fn work_counts_once_and_not_after_it_was_abandoned() {
    let drain = Drain::new();
    let mut connection = ConnectionGuard::new(drain.guard().unwrap());
    connection.work();
    assert_eq!(drain.in_flight(), 1);
    connection.rest();
    connection.rest();
    assert_eq!(drain.in_flight(), 0);
    connection.work();
    assert_eq!(drain.in_flight(), 1);
    connection.abandon();
    connection.work();
    assert_eq!(drain.in_flight(), 0);
    drop(connection);
    assert_eq!(drain.in_flight(), 0);
}

/// S8: without tracking, work that was lost and work that was alive are told apart by number.
#[test]
fn lost_work_is_counted_apart_from_work_that_was_alive() {
    let drain = Drain::new();
    let _alive = [drain.guard(), drain.guard()];
    let mut lost: Vec<_> = (0..3)
        .map(|_| ConnectionGuard::new(drain.guard().unwrap()))
        .collect();
    drain.begin();
    lost.iter_mut().for_each(ConnectionGuard::abandon);
    let text = block_on(drain.finish(ready(()))).to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines.contains(&"still in flight: 2 untracked"), "{text}");
    assert!(lines.contains(&"abandoned: 3 untracked"), "{text}");
}

/// S8: a connection that a panic drops has failed, and is not abandoned; nor is a connection that
/// ends while the drain runs.
#[test]
fn a_panic_abandons_nothing() {
    let drain = Drain::new();
    let serve = || ConnectionGuard::new(drain.guard().unwrap()).abandoned_if_dropped();
    let connection = serve();
    drop(serve());
    drain.begin();
    let panicked = std::thread::spawn(move || {
        let _connection = connection;
        std::panic::panic_any(());
    });
    panicked.join().unwrap_err();
    assert!(block_on(drain.finish(pending::<()>())).is_drained());
}

/// The report groups 3,000 stragglers by label and place, and its last line has the totals.
#[test]
fn many_stragglers_are_grouped_by_label_and_place() {
    let drain = Drain::tracked();
    let mut guards: Vec<_> = (0..2_998)
        .map(|_| drain.guard().unwrap().labeled("GET /export"))
        .collect();
    guards.push(drain.guard().unwrap().labeled("GET /one"));
    guards.push(drain.guard().unwrap());
    let report = block_on(drain.finish(ready(())));
    let text = report.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    let export = lines
        .iter()
        .find(|line| line.contains("GET /export"))
        .unwrap();
    assert!(
        export.starts_with("still in flight: GET /export ×2,998, oldest "),
        "{text}"
    );
    assert!(export.contains(", from tests/core/report.rs:"), "{text}");
    assert!(
        lines[3].starts_with("aborted: 3000 in flight when draining began, 3000 abandoned"),
        "{text}"
    );
    assert!(drain.stragglers().to_string().lines().count() == 3);
}

/// A report has at most 20 lines, which account for every straggler in any number of groups.
#[test]
fn a_report_has_at_most_20_lines() {
    for labels in [1, 18, 19, 20, 21, 500] {
        let drain = Drain::tracked();
        let guards = (0..labels).map(|label| drain.guard().unwrap().labeled(label.to_string()));
        let _guards: Vec<_> = guards.collect();
        let server = async { Err::<(), _>("it failed") };
        let shutdown = Shutdown::with_timer(&drain, a_moment);
        let shutdown = shutdown.grace(Duration::ZERO).abort_grace(Duration::ZERO);
        let text = block_on(shutdown.run(server)).to_string();
        let count = text.lines().count();
        assert_eq!(count, (labels + 2).min(20), "{text}");
        if labels > 18 {
            let others = format!("still in flight: {} others\naborted: ", labels - 17);
            assert!(text.contains(&others), "{text}");
        }
        assert_eq!(
            drain.stragglers().to_string().lines().count(),
            labels.min(20)
        );
    }
}

/// As many groups as there are lines have a line each, and large numbers have commas.
#[test]
fn a_group_has_a_line_if_there_is_room() {
    let drain = Drain::tracked();
    let labels = (0..20).flat_map(|label| [label, label]);
    let guards = labels.map(|label| drain.guard().unwrap().labeled(label.to_string()));
    let _guards: Vec<_> = guards.collect();
    let text = drain.stragglers().to_string();
    assert_eq!(text.lines().count(), 20, "{text}");
    assert!(!text.contains("others"), "{text}");

    let drain = Drain::new();
    let mut guards: Vec<_> = (0..1_000).map(|_| drain.guard()).collect();
    let said = |number| format!("still in flight: {number} untracked");
    assert_eq!(drain.stragglers().to_string(), said("1,000"));
    guards.pop();
    assert_eq!(drain.stragglers().to_string(), said("999"));
}

/// S8: a report begins with the oldest work, of whatever child.
#[test]
fn a_report_begins_with_the_oldest_work() {
    let drain = Drain::tracked();
    let child = drain.child();
    let _first = child.guard().unwrap().labeled("first");
    pass(Duration::from_millis(30)); // the clock of ages ticks every 10 ms or more often
    let _second = drain.guard().unwrap().labeled("second");
    let report = block_on(drain.finish(ready(())));
    let labels: Vec<_> = report
        .stragglers()
        .iter()
        .map(|straggler| straggler.label.as_deref())
        .collect();
    assert_eq!(labels, [Some("first"), Some("second")]);
}

/// Abandoned work has an exit status of its own; a failure takes precedence.
#[test]
fn the_exit_status_tells_abandoned_from_failed() {
    let drain = Drain::new();
    let drained = block_on(Drain::new().finish(pending::<()>())).exit_status(3);
    assert_eq!(drained.report(), ExitCode::SUCCESS);
    let _guard = drain.guard().unwrap();
    let abandoned = block_on(drain.finish(ready(()))).exit_status(3);
    assert_eq!(abandoned.report(), ExitCode::from(3));
    let server = async { Err::<(), _>("it failed") };
    let shutdown = Shutdown::with_timer(&drain, a_moment).abort_grace(Duration::ZERO);
    let failed = block_on(shutdown.run(server)).exit_status(3);
    assert_eq!(failed.report(), ExitCode::FAILURE);
}

/// Returns a process that runs an ignored test alone, with a pipe as its stderr.
fn another_process(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--ignored", "--nocapture", test])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// The part of `printing_changes_neither_the_exit_nor_its_status` that runs in another process.
#[test]
#[ignore = "a part of printing_changes_neither_the_exit_nor_its_status"]
fn print_and_exit() {
    let drain = Drain::tracked();
    let _guard = drain.guard().unwrap().labeled("x".repeat(1 << 20));
    let code = block_on(drain.finish(ready(()))).exit_status(7).report();
    std::process::exit(if code == ExitCode::from(7) { 7 } else { 1 });
}

/// The part of `a_report_that_is_read_is_printed_at_once` that runs in another process.
#[test]
#[ignore = "a part of a_report_that_is_read_is_printed_at_once"]
fn print_to_a_reader() {
    struct Bomb;
    impl std::fmt::Display for Bomb {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("a failure without words");
        }
    }
    impl std::fmt::Debug for Bomb {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Bomb")
        }
    }
    impl std::error::Error for Bomb {}

    let print = |result: Result<(), Box<dyn std::error::Error + Send + Sync>>| {
        let drain = Drain::tracked();
        let _guard = drain.guard().unwrap().labeled("the label");
        let shutdown = Shutdown::with_timer(&drain, a_moment).abort_grace(Duration::ZERO);
        let report = block_on(shutdown.run(async { result }));
        let began = Instant::now();
        report.report();
        began.elapsed()
    };
    // One that isn't printed is given up after a second.
    let took = [print(Ok(())), print(Err(Box::new(Bomb)))];
    let in_time = took.iter().all(|took| *took < Duration::from_secs(1));
    std::process::exit(if in_time { 7 } else { 1 });
}

/// L3: the exit waits until the report is printed, and no longer, even if printing panics.
#[test]
fn a_report_that_is_read_is_printed_at_once() {
    let child = another_process("report::print_to_a_reader")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr);
    assert_eq!(child.status.code(), Some(7), "{said}");
    assert!(said.contains("the label"), "{said}");
    assert!(said.contains("aborted: 1 in flight"), "{said}");
}

/// L3: printing the report neither prevents nor delays the exit, and does not change its status,
/// even if stderr is closed or a pipe that has no reader.
#[test]
fn printing_changes_neither_the_exit_nor_its_status() {
    for closed in [true, false] {
        let mut child = another_process("report::print_and_exit").spawn().unwrap();
        let stderr = child.stderr.take();
        let kept = stderr.filter(|_| !closed);
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(7), "closed: {closed}");
        drop(kept);
    }
}
