//! A dropped wait loses no wake and leaves nothing behind.

use std::{pin::pin, sync::Arc, task::Waker};

use allocation_counter::measure;
use async_drain::{Drain, Phase};

use testkit::polling::{Wakes, on_wake, poll, ready};

/// C5: a dropped wait gives its place back: a million of them take no more memory than one, and
/// none of their wakers is kept.
#[test]
fn a_dropped_wait_gives_its_place_back() {
    let drain = Drain::new();
    let (woken, waker) = Wakes::new();
    let once = || {
        let mut draining = drain.until_draining();
        assert!(!ready(&mut draining, &waker));
        assert_eq!(Arc::strong_count(&woken), 3);
    };
    once();
    let info = measure(|| (0..1_000_000).for_each(|_| once()));
    assert_eq!((info.count_total, info.bytes_current), (0, 0));
    assert_eq!(Arc::strong_count(&woken), 2);
    drain.begin();
    assert_eq!(woken.count(), 0);
}

/// C5: however often, and by however many tasks, a wait is polled, it holds one place and one
/// waker.
#[test]
fn a_wait_polled_a_million_times_holds_one_place() {
    let drain = Drain::new();
    let (a, b) = (Wakes::new(), Wakes::new());
    let mut draining = drain.until_draining();
    assert!(!ready(&mut draining, &a.1));
    let info = measure(|| {
        for _ in 0..500_000 {
            assert!(!ready(&mut draining, &b.1));
            assert!(!ready(&mut draining, &a.1));
        }
    });
    assert_eq!(info.count_total, 0);
    assert_eq!((Arc::strong_count(&a.0), Arc::strong_count(&b.0)), (3, 2));
}

/// C5: dropped streams give back what they waited with.
#[test]
fn a_dropped_stream_gives_its_place_back() {
    let drain = Drain::new();
    let waker = Waker::noop();
    let once = || {
        let work = std::future::pending::<()>();
        let mut cut = pin!(drain.run_until_aborting(drain.run_until_draining(work)));
        assert!(poll(cut.as_mut(), waker).is_pending());
    };
    once();
    assert_eq!(measure(|| (0..10_000).for_each(|_| once())).count_total, 0);
}

/// L1: a wait that moves to another task wakes that one, and only that one.
#[test]
fn the_task_that_polled_last_is_woken() {
    let drain = Drain::new();
    let (old, new) = (Wakes::new(), Wakes::new());
    let mut draining = drain.until_draining();
    assert!(!ready(&mut draining, &old.1));
    assert!(!ready(&mut draining, &new.1));
    drain.begin();
    assert_eq!((old.0.count(), new.0.count()), (0, 1));
}

/// L1: the waits around one that is dropped are still woken, each once.
#[test]
fn a_dropped_wait_leaves_the_others_listed() {
    let drain = Drain::new();
    let all: Vec<_> = (0..8).map(|_| Wakes::new()).collect();
    let mut waits: Vec<_> = all
        .iter()
        .map(|(_, waker)| {
            let mut wait = drain.until_draining();
            assert!(!ready(&mut wait, waker));
            Some(wait)
        })
        .collect();
    for gone in [0, 3, 7] {
        waits[gone] = None;
    }
    // Takes over a place that was given back.
    let (late, waker) = Wakes::new();
    let mut wait = drain.until_draining();
    assert!(!ready(&mut wait, &waker));
    drain.begin();
    assert_eq!(late.count(), 1);
    for (wait, (woken, _)) in waits.iter().zip(&all) {
        assert_eq!(woken.count(), usize::from(wait.is_some()));
    }
}

/// L1: a wait that was woken and is dropped unpolled takes no other wait's place with it.
#[test]
fn a_woken_wait_may_be_dropped_unpolled() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    let (woken, waker) = Wakes::new();
    let mut draining = drain.until_draining();
    assert!(!ready(&mut draining, &waker));
    drain.begin();
    let mut drained = drain.until_drained();
    assert!(!ready(&mut drained, &waker));
    drop(draining);
    drop(work);
    assert_eq!(woken.count(), 2);
}

/// L1: a waker may drop another wait during a raise.
#[test]
fn a_waker_may_drop_another_wait_during_a_raise() {
    let drain = Drain::new();
    let (woken, waker) = Wakes::new();
    let cell = testkit::polling::cell();
    let mut first = drain.until_draining();
    let dropper = on_wake({
        let cell = Arc::clone(&cell);
        move || drop(cell.lock().unwrap().take())
    });
    assert!(!ready(&mut first, &dropper));
    let mut second = drain.until_draining();
    assert!(!ready(&mut second, &waker));
    *cell.lock().unwrap() = Some(second);
    drain.begin();
    assert!(cell.lock().unwrap().is_none());
    drop(waker);
    assert!(woken.count() <= 1);
    assert_eq!(Arc::strong_count(&woken), 1);
}

/// Dropping `finish` stops the waiting, not the drain.
#[test]
fn a_dropped_finish_leaves_the_drain_begun() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    {
        let mut finish = pin!(drain.finish(std::future::pending::<()>()));
        assert_eq!(drain.phase(), Phase::Running);
        assert!(poll(finish.as_mut(), Waker::noop()).is_pending());
    }
    assert_eq!(drain.phase(), Phase::Draining);
    drop(work);
    assert_eq!(drain.phase(), Phase::Drained);
}
