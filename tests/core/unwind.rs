//! Panics of the work, and of wakers.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, panic_any},
    thread,
};

use async_drain::{Drain, Phase};

use testkit::polling::{OnDrop, Wakes, on_wake, poll, ready};

/// S6: work that panics drops its guard like any other, and the waiter is woken during the unwind.
#[test]
fn a_panic_drops_its_guard() {
    let drain = Drain::new();
    let (woken, waker) = Wakes::new();
    let mut drained = drain.until_drained();
    assert!(!ready(&mut drained, &waker));
    let guard = drain.guard().unwrap();
    drain.begin();
    let work = thread::spawn(move || {
        let _guard = guard;
        panic!("the work fails");
    });
    assert!(work.join().is_err());
    assert_eq!(woken.count(), 1);
    assert!(ready(&mut drained, &waker));
}

/// S6: a future that panics in `poll` keeps its guard until it is dropped, and no longer.
#[test]
fn a_guarded_future_that_panics_keeps_its_guard_until_dropped() {
    let drain = Drain::new();
    let mut work = Box::pin(
        drain
            .guard()
            .unwrap()
            .wrap(async { panic!("the work fails") }),
    );
    drain.begin();
    let waker = std::task::Waker::noop();
    assert!(catch_unwind(AssertUnwindSafe(|| poll::<_>(work.as_mut(), waker))).is_err());
    assert_eq!(drain.phase(), Phase::Draining);
    drop(work);
    assert_eq!(drain.phase(), Phase::Drained);
}

/// A thread that is to begin the drain when it ends begins it, also if it panics, and not before.
#[test]
fn a_panic_begins_what_is_to_begin() {
    let drain = Drain::new();
    let begin = drain.begin_on_drop();
    assert_eq!(drain.phase(), Phase::Running);
    let worker = thread::spawn(move || {
        let _begin = begin;
        panic!("the worker fails");
    });
    assert!(worker.join().is_err());
    assert_eq!(drain.phase(), Phase::Drained);
}

/// S6: wakers that panic don't prevent the other wakes, before or after them in the list, and the
/// drain still works.
#[test]
fn a_panicking_waker_does_not_stop_the_other_wakes() {
    let drain = Drain::new();
    let child = drain.child();
    let work = child.guard().unwrap();
    let bad = on_wake(|| panic!("a bad waker"));
    let (woken, good) = Wakes::new();
    let mut waits = Vec::new();
    for waker in [&bad, &good, &bad, &bad, &good] {
        let mut draining = drain.until_draining();
        let mut below = child.until_draining();
        let mut drained = drain.until_drained();
        assert!(!ready(&mut draining, waker));
        assert!(!ready(&mut below, waker));
        assert!(!ready(&mut drained, waker));
        waits.push((draining, below, drained));
    }
    assert!(drain.begin(), "the panic of a waker is not the beginner's");
    assert_eq!(woken.count(), 4);
    assert!(child.is_draining());
    drop(work);
    assert_eq!(woken.count(), 6);
    assert_eq!(drain.phase(), Phase::Drained);
    for (draining, below, drained) in &mut waits {
        assert!(ready(draining, &good) && ready(below, &good) && ready(drained, &good));
    }
}

/// S6: a waker that panics while a guard is dropped by an unwind does not end the process.
#[test]
fn a_panicking_waker_in_an_unwind_does_not_abort() {
    let drain = Drain::new();
    let guard = drain.guard().unwrap();
    let mut drained = drain.until_drained();
    assert!(!ready(&mut drained, &on_wake(|| panic!("a bad waker"))));
    drain.begin();
    let work = thread::spawn(move || {
        let _guard = guard;
        panic!("the work fails");
    });
    assert!(work.join().is_err());
    assert_eq!(drain.phase(), Phase::Drained);
}

/// S6: nor does a waker whose panic payload panics when it is dropped.
#[test]
fn a_panic_payload_may_panic_when_dropped() {
    let drain = Drain::new();
    let mut draining = drain.until_draining();
    let waker = on_wake(|| panic_any(OnDrop(|| panic!("worse"))));
    assert!(!ready(&mut draining, &waker));
    let (woken, good) = Wakes::new();
    let mut other = drain.until_draining();
    assert!(!ready(&mut other, &good));
    assert!(drain.begin());
    assert_eq!(woken.count(), 1);
}

/// S6: a waker that panics when dropped makes the caller's poll panic, and breaks nothing else.
#[test]
fn a_waker_that_panics_when_dropped_breaks_only_its_poll() {
    let drain = Drain::new();
    let mut draining = drain.until_draining();
    let bomb = OnDrop(|| panic!("a bad waker"));
    {
        let waker = on_wake(move || {
            let _ = &bomb;
        });
        assert!(!ready(&mut draining, &waker));
    }
    let (woken, good) = Wakes::new();
    let polled = catch_unwind(AssertUnwindSafe(|| ready(&mut draining, &good)));
    assert!(polled.is_err(), "the old waker was dropped by this poll");
    let mut other = drain.until_draining();
    assert!(!ready(&mut other, &good));
    drain.begin();
    assert_eq!(woken.count(), 2);
}

/// The last handle may be dropped by an unwind.
#[test]
fn a_handle_dropped_by_an_unwind_begins_the_drain() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    let owner = thread::spawn(move || {
        let _drain = drain;
        panic!("the accept loop fails");
    });
    assert!(owner.join().is_err());
    assert!(work.is_draining());
}
