//! C1: what allocates, and what does not.

use std::{
    pin::pin,
    task::{Context, Waker},
};

use async_drain::Drain;
use async_drain_bench::counting::{Counting, requests};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns how often `operation` asks for memory when it is repeated, without its first times.
fn steady(mut operation: impl FnMut()) -> usize {
    for _ in 0..64 {
        operation();
    }
    let before = requests();
    for _ in 0..1000 {
        operation();
    }
    requests() - before
}

/// C1: making, cloning and dropping a guard allocates nothing, while running and while draining.
#[test]
fn a_guard_does_not_allocate() {
    let drain = Drain::new();
    let kept = drain.guard().unwrap();
    let child = drain.child();
    assert_eq!(steady(|| drop(drain.guard())), 0);
    assert_eq!(steady(|| drop(drain.admit())), 0);
    assert_eq!(steady(|| drop(kept.clone())), 0);
    assert_eq!(steady(|| drop(child.guard())), 0);
    drain.begin();
    assert_eq!(steady(|| drop(drain.guard())), 0);
    drop(kept);
    assert_eq!(steady(|| assert!(drain.guard().is_err())), 0);
}

/// C6: a child asks for memory once, and once more for its first guard.
#[test]
fn a_child_allocates_once() {
    let drain = Drain::new();
    assert_eq!(steady(|| drop(drain.child())), 1000);
    let with_a_guard = || {
        let child = drain.child();
        drop(child.guard());
        drop(child.guard());
    };
    assert_eq!(steady(with_a_guard), 2000);
}

/// A tracked guard takes a seat that an earlier one has left.
#[test]
fn a_tracked_guard_does_not_allocate() {
    let drain = Drain::tracked();
    let kept = drain.guard().unwrap();
    assert_eq!(steady(|| drop(drain.guard())), 0);
    assert_eq!(
        steady(|| drop(drain.guard().map(|g| g.labeled("GET /")))),
        0
    );
    assert_eq!(steady(|| drop(kept.clone())), 0);
}

/// C4: waiting asks for memory only when more wait than ever before.
#[test]
fn a_waiter_does_not_allocate() {
    let drain = Drain::new();
    let mut cx = Context::from_waker(Waker::noop());
    let wait = || {
        let mut until = pin!(drain.until_draining());
        assert!(until.as_mut().poll(&mut cx).is_pending());
        assert!(until.as_mut().poll(&mut cx).is_pending());
    };
    assert_eq!(steady(wait), 0);
    let mut cx = Context::from_waker(Waker::noop());
    let work = || {
        let ready = std::future::ready(());
        assert!(
            pin!(drain.run_until_draining(ready))
                .poll(&mut cx)
                .is_ready()
        );
    };
    assert_eq!(steady(work), 0);
}
