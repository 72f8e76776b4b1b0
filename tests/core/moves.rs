//! S8: work that moves from one guard to another while it is aborted is in the report.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use async_drain::{Drain, Guard, net::idle::ConnectionGuard};
use futures_lite::future::{block_on, ready};

const ROUNDS: usize = 3_000;

/// Returns a guard that keeps the drain, and the shard of this thread, from ending, without being
/// in flight.
fn idle(drain: &Drain) -> ConnectionGuard {
    let mut idle = ConnectionGuard::new(drain.guard().unwrap());
    idle.rest();
    idle
}

/// Finishes `drain` without a grace period, while `work` moves from guard to guard until `stop` is
/// set.
fn finish_finds(drain: &Drain, work: impl FnOnce(&AtomicBool, &Barrier) -> Guard + Send) {
    let (stop, start) = (AtomicBool::new(false), Barrier::new(2));
    thread::scope(|scope| {
        let work = scope.spawn(|| work(&stop, &start));
        start.wait();
        let report = block_on(drain.finish(ready(())));
        stop.store(true, Ordering::Relaxed);
        let last = work.join().unwrap();
        assert!(!report.is_drained(), "{report}");
        drop(last);
    });
}

/// Moves a guard up and down `line`, which is a drain and its descendants.
fn up_and_down(line: &[Drain], stop: &AtomicBool, start: &Barrier) -> Guard {
    let mut guard = line[0].guard().unwrap();
    start.wait();
    while !stop.load(Ordering::Relaxed) {
        for drain in line.iter().chain(line.iter().rev()) {
            let next = drain.guard().unwrap();
            drop(std::mem::replace(&mut guard, next));
        }
    }
    guard
}

fn moves_in_the_tree(depth: usize, track: bool) {
    for _ in 0..ROUNDS / depth {
        let mut line = vec![if track {
            Drain::tracked()
        } else {
            Drain::new()
        }];
        for _ in 0..depth {
            line.push(line[line.len() - 1].child());
        }
        let _idle: Vec<_> = line.iter().map(idle).collect();
        finish_finds(&line[0], |stop, start| up_and_down(&line, stop, start));
    }
}

/// S8: a guard that moves between a drain and its child is counted in one of them.
#[test]
fn a_guard_that_moves_between_parent_and_child_is_found() {
    moves_in_the_tree(1, false);
    moves_in_the_tree(1, true);
}

/// S8: the same over four generations.
#[test]
fn a_guard_that_moves_over_four_generations_is_found() {
    moves_in_the_tree(4, false);
    moves_in_the_tree(4, true);
}
