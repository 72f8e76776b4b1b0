//! C1 C3 C4: what allocates nothing, by the count of the allocator.

use std::{task::Waker, thread};

use allocation_counter::measure;
use async_drain::Drain;

use testkit::polling::ready;

fn free(what: impl FnMut()) {
    let mut what = what;
    what();
    let info = measure(|| (0..1_000).for_each(|_| what()));
    assert_eq!((info.count_total, info.bytes_total), (0, 0));
}

/// C1: a guard and its drop, also while draining and from another thread's shard.
#[test]
fn a_guard_allocates_nothing() {
    let drain = Drain::with_shards(4, false);
    free(|| drop(drain.guard().unwrap()));
    free(|| drop(drain.admit().unwrap()));
    let work = thread::scope(|s| s.spawn(|| drain.guard().unwrap()).join().unwrap());
    drain.begin();
    free(|| drop(drain.guard().unwrap()));
    free(|| assert!(drain.admit().is_err()));
    drop(work);
    free(|| assert!(drain.guard().is_err()));
}

/// C1: a clone of a guard and its drop, and labels that go nowhere.
#[test]
fn a_clone_allocates_nothing() {
    let drain = Drain::new();
    let guard = drain.guard().unwrap();
    free(|| drop(guard.clone()));
    free(|| drop(drain.clone()));
    free(|| drop(drain.guard().unwrap().labeled("GET /")));
}

/// C1: a tracked guard takes the seat that another has left.
#[test]
fn a_tracked_guard_takes_a_seat_that_was_left() {
    let drain = Drain::tracked();
    let _kept = drain.guard().unwrap();
    free(|| drop(drain.guard().unwrap().labeled("GET /")));
}

/// C3: reading the phase, the deadline and the count.
#[test]
fn reading_the_phase_allocates_nothing() {
    let drain = Drain::new();
    let guard = drain.guard().unwrap();
    free(|| assert!(!drain.is_draining() && !guard.is_draining()));
    free(|| assert_eq!((drain.phase() as u8, drain.deadline()), (0, None)));
    free(|| assert_eq!(drain.in_flight(), 1));
}

/// C4: a wait, another poll by the same task, and a dropped wait, once the list has grown.
#[test]
fn waits_allocate_nothing_once_their_list_has_grown() {
    let drain = Drain::new();
    let mut wait = drain.until_draining();
    free(|| assert!(!ready(&mut wait, Waker::noop())));
    free(|| assert!(!ready(&mut drain.until_draining(), Waker::noop())));
}

/// C2: a guard costs the same beside a hundred thousand other guards, waiters and children.
#[test]
fn a_guard_costs_the_same_beside_a_hundred_thousand() {
    let drain = Drain::new();
    let guards: Vec<_> = (0..100_000).map(|_| drain.guard().unwrap()).collect();
    let children: Vec<_> = (0..1_000).map(|_| drain.child()).collect();
    let mut waits: Vec<_> = (0..1_000).map(|_| drain.until_draining()).collect();
    assert!(waits.iter_mut().all(|wait| !ready(wait, Waker::noop())));
    free(|| drop(drain.guard().unwrap()));
    drop((guards, children));
}
