//! A shutdown by hand: the timer and the requests are the test's.

use std::{
    future::{pending, ready},
    pin::pin,
    time::{Duration, Instant},
};

use async_drain::{Drain, Drained, Phase, Shutdown};
use futures_lite::{
    future::{block_on, poll_once},
    stream,
};

/// All time is over at once.
fn at_once(_: Instant) -> impl Future {
    ready(())
}

/// L3: what ignores the drain and the abort holds nobody, and the report tells of it.
#[test]
fn the_report_tells_what_was_abandoned() {
    let drain = Drain::new();
    let guard = drain.guard().unwrap();
    let shutdown = Shutdown::with_timer(&drain, at_once).on(stream::once(()));
    let report = block_on(shutdown.run(pending::<()>()));

    assert!(!report.is_drained());
    assert_eq!(report.in_flight(), 1);
    assert_eq!(report.stragglers().count(), 1);
    assert_eq!(report.left(), 1);
    assert!(report.failure().is_none());
    assert_eq!(report.lame_duck(), Duration::ZERO);
    let text = report.to_string();
    let wanted = "still in flight: 1 untracked\naborted: 1 in flight when draining began, 1 abandoned, 1 of them still running;";
    assert!(text.starts_with(wanted), "{text}");
    drop(guard);
}

/// L3: the same for what heeds the abort: it was cut, but nothing is left of it.
#[test]
fn the_report_tells_what_heeded_the_abort() {
    let drain = Drain::new();
    let guard = drain.guard().unwrap();
    let aborting = drain.until_aborting();
    let server = async {
        aborting.await;
        drop(guard);
    };
    let timer = |deadline: Instant| async move {
        // The abort grace alone is long.
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
    assert_eq!(report.stragglers().count(), 1);
    assert_eq!(report.left(), 0);
    assert!(!report.to_string().contains("still running"), "{report}");
}

#[test]
fn the_report_tells_why_the_server_failed() {
    let drain = Drain::new();
    let shutdown = Shutdown::with_timer(&drain, at_once);
    let report = block_on(shutdown.run(ready(Err::<(), _>("no port is free"))));

    assert_eq!(report.failure().unwrap().to_string(), "no port is free");
    assert!(report.is_drained());
    assert_eq!(report.stragglers().count(), 0);
    let text = report.to_string();
    assert!(
        text.starts_with("the server failed: no port is free\ndrained: "),
        "{text}"
    );
}

/// A channel whose last sender is gone asks for nothing.
#[test]
fn requests_that_end_are_no_request() {
    let drain = Drain::new();
    let shutdown = Shutdown::with_timer(&drain, at_once).on(stream::empty::<()>());
    let mut run = pin!(shutdown.run(pending::<()>()));
    assert!(block_on(poll_once(&mut run)).is_none());
    assert_eq!(drain.phase(), Phase::Running);
    drain.begin();
    assert!(block_on(run).is_drained());
}

/// Logs and readiness probes show them.
#[test]
fn the_words_for_people() {
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
    assert_eq!(
        Drained.to_string(),
        "the drain is drained: no guard can be made any more"
    );
}
