//! Larger models for shuttle: more threads and longer programs than loom can finish, in random
//! interleavings and in those that PCT picks, which reverses the order of a few steps.
//! `ci/shuttle.sh` runs them.
//!
//! A schedule that fails is printed and can be replayed. Shuttle knows no ordering but `SeqCst`:
//! loom's models tell whether the orderings are strong enough, and these what happens between many
//! threads.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use shuttle::{
    future::block_on,
    rand::{Rng, thread_rng},
    thread::JoinHandle,
};

use super::{Works, counter, drain, on};
use crate::drain::{Drain, phase::Phase};

/// Runs `model` so often under each scheduler, by `SHUTTLE_ITERATIONS`.
pub(crate) fn explore(name: &str, model: impl Fn() + Send + Sync + 'static) {
    /// How many steps PCT turns round.
    const DEPTH: usize = 4;
    let iterations = std::env::var("SHUTTLE_ITERATIONS")
        .ok()
        .and_then(|iterations| iterations.parse().ok())
        .unwrap_or(1_000);
    let model = std::sync::Arc::new(model);
    let again = std::sync::Arc::clone(&model);
    shuttle::check_random(move || model(), iterations);
    shuttle::check_pct(move || again(), iterations, DEPTH);
    println!("{name}: {iterations} random interleavings, and as many by PCT");
}

fn any(below: usize) -> usize {
    thread_rng().gen_range(0..below)
}

fn join(threads: Vec<JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Takes a guard, or sees that it is refused with reason, and works under it, and under clones of
/// it. Returns whether it was told that the drain is drained.
fn work(drain: &Drain, works: &Works) -> bool {
    let promised = any(2) == 0;
    let made = if promised {
        drain.guard().ok()
    } else {
        drain.admit().ok()
    };
    let Some(guard) = made else {
        assert!(drain.is_draining(), "refused while running");
        return promised;
    };
    let first = works.under(guard);
    assert_ne!(drain.phase(), Phase::Drained);
    assert_ne!(drain.in_flight(), 0);
    for _ in 0..any(3) {
        let further = works.under(first.guard.clone().unwrap());
        if any(2) == 0 {
            let drained = drain.until_drained();
            drop(further);
            drop(drained);
        }
    }
    false
}

fn guards(name: &str, tracked: bool, shards: usize) {
    explore(name, move || {
        let drain = Drain::with_shards(shards, tracked);
        let works = Works::new();
        let threads = (0..4).map(|slot| {
            let (drain, works) = (drain.clone(), works.clone());
            on(slot, move || {
                for _ in 0..3 {
                    if work(&drain, &works) {
                        works.check_drained();
                    }
                }
            })
        });
        let threads = threads.collect();
        drain.begin();
        block_on(drain.until_drained());
        works.check_drained();
        assert!(drain.guard().is_err());
        assert_eq!(drain.stragglers().total(), 0);
        join(threads);
    });
}

/// S2 S3 S4 L2: four threads make and drop guards on four shards while draining begins.
#[test]
fn guards_on_four_shards() {
    guards("guards_on_four_shards", false, 4);
}

/// S2 S3 S4 L2: the same on two shards, where threads meet.
#[test]
fn guards_on_two_shards() {
    guards("guards_on_two_shards", false, 2);
}

/// S2 S3 S4 L2: the same with tracked guards, whose seats are taken again and again.
#[test]
fn tracked_guards_on_two_shards() {
    guards("tracked_guards_on_two_shards", true, 2);
}

/// S1 S2 S4 L1 L2: children and theirs are made, begun and dropped on three threads while their
/// parent begins. All below has begun when a beginning returns, and nobody is drained before those
/// below.
#[test]
fn children_made_and_begun() {
    explore("children_made_and_begun", || {
        let (root, works) = (drain(2), Works::new());
        let threads = (0..3).map(|slot| {
            let (root, works) = (root.clone(), works.clone());
            on(slot, move || {
                let child = root.child();
                work(&child, &works);
                let below = child.child();
                let last = below.guard().ok().map(|guard| works.under(guard));
                if any(2) == 0 {
                    child.begin();
                    assert!(below.is_draining(), "below what has begun");
                }
                let held = last.is_some();
                assert!(!held || root.phase() < Phase::Drained);
                work(&below, &works);
                drop(last);
                drop(child);
                if any(2) == 0 {
                    block_on(below.until_draining());
                }
            })
        });
        let threads = threads.collect();
        let early = root.child();
        root.begin();
        assert!(early.is_draining());
        block_on(root.until_drained());
        works.check_drained();
        join(threads);
        assert_eq!(early.phase(), Phase::Drained);
        assert_eq!(root.in_flight(), 0);
    });
}

/// L1: waits for each phase on three threads, polled by one task after the other, while three
/// others go lame duck, begin and abort, and the last guard goes. The task that polled last is
/// woken, once, and no other is.
#[test]
fn waits_polled_by_many_tasks() {
    explore("waits_polled_by_many_tasks", || {
        let drain = drain(2);
        let last = drain.guard().unwrap();
        let mut threads = Vec::new();
        for slot in 0..3 {
            let drain = drain.clone();
            threads.push(on(slot, move || {
                // A neighbour in the list, which may leave at any time.
                let mut other = drain.until_drained();
                let (_, bystander) = counter();
                let _ = Pin::new(&mut other).poll(&mut Context::from_waker(&bystander));
                match slot {
                    0 => answered(drain.until_lame_duck()),
                    1 => answered(drain.until_aborting()),
                    _ => answered(drain.until_drained()),
                }
            }));
        }
        let step = |slot, step: fn(&Drain) -> bool| {
            let drain = drain.clone();
            on(slot, move || {
                step(&drain);
            })
        };
        threads.push(step(0, Drain::enter_lame_duck));
        threads.push(step(1, Drain::begin));
        if any(2) == 0 {
            threads.push(step(2, Drain::abort));
        }
        drop(last);
        join(threads);
        assert_eq!(drain.phase(), Phase::Drained);
    });
}

/// Polls `wait` by new tasks, and then by one that sleeps until it is woken.
fn answered(mut wait: impl Future<Output = ()> + Unpin) {
    for _ in 0..any(3) {
        let (count, waker) = counter();
        let mut cx = Context::from_waker(&waker);
        if Pin::new(&mut wait).poll(&mut cx).is_ready() {
            assert_eq!(count.get(), 0, "woken and answered");
            return;
        }
        // The same task again, which is on the list already, unless it has been woken since.
        if Pin::new(&mut wait).poll(&mut cx) == Poll::Pending {
            assert!(count.get() <= 1);
        }
    }
    block_on(wait);
}

/// S1 S2 L1 L2: the timer of a finish races the last guards. The finishing thread learns of either,
/// and if it was the former, so do the threads that wait for aborting.
#[test]
fn a_finish_that_may_abort() {
    explore("a_finish_that_may_abort", || {
        let (drain, works) = (drain(4), Works::new());
        let clock = self::drain(1);
        let threads = (0..3).map(|slot| {
            let work = works.under(drain.guard().unwrap());
            let drain = drain.clone();
            on(slot, move || {
                // Work that heeds draining, or not.
                if any(2) == 0 {
                    block_on(drain.until_draining());
                }
                drop(work);
            })
        });
        let mut threads: Vec<_> = threads.collect();
        threads.push(on(3, {
            let time = clock.clone();
            move || {
                time.begin();
            }
        }));
        let report = block_on(drain.finish(clock.until_draining()));
        if report.is_drained() {
            assert_eq!(works.alive(), 0);
        } else {
            assert_ne!(report.stragglers().total(), 0);
        }
        block_on(drain.until_aborting());
        block_on(drain.until_drained());
        works.check_drained();
        join(threads);
    });
}

/// L1 L2 S2: handles of a drain and of its child are dropped on four threads; the last of each
/// begins it.
#[test]
fn handles_dropped_everywhere() {
    explore("handles_dropped_everywhere", || {
        let (drain, works) = (drain(2), Works::new());
        let child = drain.child();
        let (drained, below) = (drain.until_drained(), child.until_drained());
        let threads = (0..4).map(|slot| {
            let (drain, child, works) = (drain.clone(), child.clone(), works.clone());
            on(slot, move || {
                work(&child, &works);
                let late = child.guard().map(|guard| works.under(guard));
                drop(child);
                work(&drain, &works);
                drop(drain);
                if let Ok(work) = &late {
                    block_on(work.guard.as_ref().unwrap().until_draining());
                }
            })
        });
        let threads = threads.collect();
        drop((child, drain));
        block_on(drained);
        works.check_drained();
        block_on(below);
        join(threads);
    });
}
