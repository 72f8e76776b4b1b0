//! `Drain::drive` against swansong itself, polled by hand.

use std::{future::Future, pin::pin, task::Context, time::Duration};

use async_drain::{Drain, Phase};
use futures_lite::future::{block_on, poll_once};
use swansong::Swansong;

/// S2: the guards of a swansong keep the drain from being drained.
#[test]
fn the_drain_waits_for_the_guards_of_its_swansong() {
    let (drain, swansong) = (Drain::new(), Swansong::new());
    let mut drive = pin!(drain.drive(swansong.clone()));
    let work = swansong.guard();
    assert_eq!(block_on(poll_once(drive.as_mut())), None);
    assert!(swansong.state().is_running());

    drain.begin();
    assert_eq!(block_on(poll_once(drive.as_mut())), None);
    assert!(swansong.state().is_shutting_down());
    assert_eq!((drain.phase(), drain.in_flight()), (Phase::Draining, 1));

    drop(work);
    assert_eq!(block_on(poll_once(drive)), Some(()));
    assert_eq!(drain.phase(), Phase::Drained);
}

/// L1: the drive is woken, not polled again and again.
#[test]
fn a_drive_is_woken_by_the_drain_and_by_the_last_guard() {
    let (drain, swansong) = (Drain::new(), Swansong::new());
    let drive = drain.drive(swansong.clone());
    let driver = std::thread::spawn(move || block_on(drive));
    let work = swansong.guard();
    drain.begin();
    swansong.shutting_down().block();
    assert!(
        !drain
            .until_drained()
            .wait_timeout(Duration::from_millis(20))
    );
    drop(work);
    drain.until_drained().wait();
    driver.join().expect("it does not panic");
}

/// Z11: a swansong that is driven after draining began is shut down at once.
#[test]
fn a_swansong_driven_late_is_shut_down_at_once() {
    let (drain, swansong) = (Drain::new(), Swansong::new());
    drain.begin();
    drain.until_drained().wait();
    block_on(drain.drive(swansong.clone()));
    assert!(swansong.state().is_complete());
}

#[test]
fn a_swansong_that_is_shut_down_by_others_leaves_the_drain_running() {
    let (drain, swansong) = (Drain::new(), Swansong::new());
    let drive = drain.drive(swansong.clone());
    swansong.shut_down();
    block_on(drive);
    assert_eq!((drain.phase(), drain.in_flight()), (Phase::Running, 0));
}

/// The deadline and the report, which swansong doesn't have.
#[test]
fn a_guard_that_never_ends_is_reported_by_name_and_can_be_given_up() {
    let drain = Drain::tracked();
    let swansong = Swansong::new();
    let _stuck = swansong.guard();
    let drive = drain.run_until_aborting(drain.drive(swansong.clone()));
    let driver = std::thread::spawn(move || block_on(drive));

    let report = block_on(drain.finish_within(Duration::from_millis(20)));
    assert!(!report.is_drained());
    assert!(
        report.to_string().contains("still in flight: swansong"),
        "{report}"
    );
    assert!(driver.join().expect("it does not panic").is_err());
    drain.until_drained().wait();
}

#[test]
fn a_drive_that_is_dropped_holds_nothing() {
    let (drain, swansong) = (Drain::new(), Swansong::new());
    let _stuck = swansong.guard();
    let mut drive = Box::pin(drain.drive(swansong.clone()));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(drive.as_mut().poll(&mut cx).is_pending());
    drop(drive);
    drain.begin();
    drain.until_drained().wait();
    assert!(swansong.state().is_running());
}
