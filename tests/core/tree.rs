//! Children, which drain with their parent or alone, and for which it waits.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_drain::{Drain, Guard, Phase};

use testkit::polling::{Wakes, cell, on_wake, ready};

/// S2: a parent waits for the guards of its children, at any depth, and for nothing else of theirs.
#[test]
fn a_parent_waits_for_guards_below() {
    let drain = Drain::new();
    let child = drain.child();
    let grandchild = child.child();
    let work = grandchild.guard().unwrap();
    let (woken, waker) = Wakes::new();
    let mut drained = drain.until_drained();
    assert!(!ready(&mut drained, &waker));
    drain.begin();
    assert_eq!(
        [&drain, &child, &grandchild].map(Drain::phase),
        [Phase::Draining; 3]
    );
    drop(work);
    assert_eq!(
        [&drain, &child, &grandchild].map(Drain::phase),
        [Phase::Drained; 3]
    );
    assert_eq!(woken.count(), 1);
}

/// A child that drains alone leaves its parent running.
#[test]
fn a_child_drains_alone() {
    let drain = Drain::new();
    let child = drain.child();
    let work = child.guard().unwrap();
    assert!(child.begin());
    assert!(child.is_draining() && !drain.is_draining());
    assert!(child.admit().is_err());
    drop(work);
    assert_eq!(
        (child.phase(), drain.phase()),
        (Phase::Drained, Phase::Running)
    );
    drop(drain.admit().unwrap());
    drain.begin();
    assert_eq!(drain.phase(), Phase::Drained);
}

/// S1 L1: every phase of a parent reaches its children and wakes their waits.
#[test]
fn phases_reach_the_children() {
    let drain = Drain::new();
    let between = drain.child();
    let child = between.child();
    let _work = child.guard().unwrap();
    let all = [(); 3].map(|()| Wakes::new());
    let mut lame_duck = child.until_lame_duck();
    let mut draining = child.until_draining();
    let mut aborting = child.until_aborting();
    assert!(!ready(&mut lame_duck, &all[0].1));
    assert!(!ready(&mut draining, &all[1].1));
    assert!(!ready(&mut aborting, &all[2].1));
    let counts = || all.each_ref().map(|(woken, _)| woken.count());
    drain.enter_lame_duck();
    assert_eq!((child.phase(), counts()), (Phase::LameDuck, [1, 0, 0]));
    drain.begin();
    assert_eq!((child.phase(), counts()), (Phase::Draining, [1, 1, 0]));
    drain.abort();
    assert_eq!((child.phase(), counts()), (Phase::Aborting, [1, 1, 1]));
}

/// S1: a child that is ahead of its parent stays ahead.
#[test]
fn a_child_may_be_ahead() {
    let drain = Drain::new();
    let child = drain.child();
    let _work = child.guard().unwrap();
    child.abort();
    drain.begin();
    assert_eq!(
        (drain.phase(), child.phase()),
        (Phase::Draining, Phase::Aborting)
    );
}

/// A parent's count is the sum of the guards below; its links to children are not work.
#[test]
fn a_parent_counts_the_guards_of_its_children() {
    let drain = Drain::with_shards(4, false);
    let children: Vec<_> = (0..5).map(|_| drain.child()).collect();
    assert_eq!(drain.in_flight(), 0);
    let mut guards: Vec<Guard> = children
        .iter()
        .map(|child| child.guard().unwrap())
        .collect();
    guards.push(drain.guard().unwrap());
    let grandchild = children[0].child();
    guards.push(grandchild.guard().unwrap());
    assert_eq!((drain.in_flight(), children[0].in_flight()), (7, 2));
    drain.begin();
    for left in (0..guards.len()).rev() {
        drop(guards.pop());
        assert_eq!(
            (drain.in_flight(), drain.stragglers().total()),
            (left, left)
        );
    }
    assert_eq!(drain.phase(), Phase::Drained);
}

/// S3 S4: a child starts in the phase of its parent. If that is draining, the child is drained,
/// since it has no guards.
#[test]
fn a_late_child_has_the_phase_of_its_parent() {
    let drain = Drain::new();
    drain.enter_lame_duck();
    let child = drain.child();
    assert_eq!(child.phase(), Phase::LameDuck);
    assert!(child.admit().is_ok());

    let work = drain.guard().unwrap();
    drain.begin();
    let child = drain.child();
    assert_eq!(child.phase(), Phase::Drained);
    assert!(child.guard().is_err());
    drop(work);
    assert_eq!(drain.phase(), Phase::Drained);
    assert_eq!(drain.child().phase(), Phase::Drained);
    assert_eq!(drain.in_flight(), 0);
}

/// S7: a task that the parent wakes can read the deadline of a child.
#[test]
fn the_deadline_of_a_child_is_set_before_its_parent_wakes() {
    let drain = Drain::new();
    let child = drain.child();
    let found = cell();
    let waker = on_wake({
        let found = Arc::clone(&found);
        move || *found.lock().unwrap() = Some(child.deadline())
    });
    let mut draining = drain.until_draining();
    assert!(!ready(&mut draining, &waker));
    let deadline = Instant::now() + Duration::from_secs(1);
    drain.begin_with_deadline(deadline);
    assert_eq!(*found.lock().unwrap(), Some(Some(deadline)));
}

/// S7: a deadline reaches all children, those made later, and the children of a drained drain.
#[test]
fn the_deadline_is_inherited() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    let early = drain.child();
    let below = early.child();
    let work_below = below.guard().unwrap();
    let sooner = Instant::now() + Duration::from_secs(60);
    let deadline = sooner + Duration::from_secs(1);
    drain.begin_with_deadline(deadline);
    assert_eq!(early.deadline(), Some(deadline));
    assert_eq!(below.deadline(), Some(deadline));
    assert_eq!(drain.child().deadline(), Some(deadline));
    drain.begin_with_deadline(sooner);
    assert_eq!(below.deadline(), Some(sooner));
    drop((work, work_below));
    assert_eq!(drain.phase(), Phase::Drained);
    assert_eq!(drain.child().deadline(), Some(sooner));
}

/// A child's deadline does not reach its parent.
#[test]
fn the_deadline_of_a_child_does_not_reach_its_parent() {
    let drain = Drain::new();
    let child = drain.child();
    let _work = child.guard().unwrap();
    child.begin_with_deadline(Instant::now());
    assert_eq!(drain.deadline(), None);
}

/// S2: a child without handles is draining, and its parent still waits for it.
#[test]
fn an_orphan_is_waited_for() {
    let drain = Drain::new();
    let child = drain.child();
    let work = child.guard().unwrap();
    let (woken, waker) = Wakes::new();
    let mut aborting = work.until_aborting();
    assert!(!ready(&mut aborting, &waker));
    drop(child);
    assert!(work.is_draining());
    drain.begin();
    assert_eq!((drain.phase(), drain.in_flight()), (Phase::Draining, 1));
    drain.abort();
    assert_eq!(woken.count(), 1);
    drop(work);
    assert_eq!(drain.phase(), Phase::Drained);
}

/// S2: if a parent's last handle is dropped, its children drain too, and their guards keep alive
/// what they need.
#[test]
fn children_outlive_their_parents_handle() {
    let drain = Drain::new();
    let (woken, waker) = Wakes::new();
    let mut drained = drain.until_drained();
    assert!(!ready(&mut drained, &waker));
    let child = drain.child();
    let work = child.guard().unwrap();
    drop(drain);
    assert!(work.is_draining());
    drop(child);
    assert_eq!(woken.count(), 0);
    drop(work);
    assert_eq!(woken.count(), 1);
}

/// C5: dropped children leave nothing behind.
#[test]
fn a_dropped_child_gives_its_place_back() {
    let drain = Drain::new();
    drop(drain.child());
    let info = allocation_counter::measure(|| {
        for _ in 0..10_000 {
            let child = drain.child();
            let _work = child.guard().unwrap();
        }
    });
    assert_eq!(info.bytes_current, 0);
    assert_eq!(drain.in_flight(), 0);
}

/// C5: of a hundred thousand children that have gone, no memory stays, and neither does the time to
/// look at them.
#[test]
fn memory_follows_the_children_that_are_left() {
    let drain = Drain::new();
    let kept = drain.child();
    let info = allocation_counter::measure(|| {
        let children: Vec<_> = (0..100_000).map(|_| drain.child()).collect();
        drop(children);
    });
    assert!(
        info.bytes_current < 10_000,
        "{} bytes stay",
        info.bytes_current
    );
    assert_eq!(drain.in_flight(), 0);
    drain.begin();
    assert_eq!(kept.phase(), Phase::Drained);
}

/// S6: beginning, counting, ending and dropping don't recurse: a tree ten thousand deep overflows
/// no stack.
mod deep {
    use super::{Drain, Phase, ready};
    use std::task::Waker;

    const DEEP: usize = 10_000;

    fn line(depth: usize) -> Vec<Drain> {
        let mut line = vec![Drain::new()];
        for _ in 0..depth {
            line.push(line[line.len() - 1].child());
        }
        line
    }

    fn check(depth: usize, drop_handles: impl FnOnce(Vec<Drain>)) {
        let mut line = line(depth);
        let work = line[line.len() - 1].guard().unwrap();
        let mut drained = line[0].until_drained();
        assert_eq!(line[0].in_flight(), 1);
        drop_handles(std::mem::take(&mut line));
        assert!(!ready(&mut drained, Waker::noop()));
        assert!(work.is_draining());
        drop(work);
        drained.wait();
    }

    #[test]
    fn a_deep_tree_begins_from_the_top() {
        let line = line(DEEP);
        let work = line[line.len() - 1].guard().unwrap();
        line[0].begin();
        assert!(line.iter().all(|drain| drain.phase() == Phase::Draining));
        drop(work);
        assert!(line.iter().all(|drain| drain.phase() == Phase::Drained));
    }

    /// A child has a seat of its own from its first guard on.
    #[test]
    fn children_that_have_had_guards_end_from_the_bottom() {
        let line = line(10 * DEEP);
        for drain in &line {
            drop(drain.guard().unwrap());
        }
        let work = line[line.len() - 1].guard().unwrap();
        line[0].begin();
        drop(work);
        assert!(line.iter().all(|drain| drain.phase() == Phase::Drained));
    }

    #[test]
    fn handles_may_be_dropped_from_the_top() {
        check(DEEP, drop);
    }

    /// Each dropped handle begins all drains below it, without walking those that have begun.
    #[test]
    fn handles_may_be_dropped_from_the_bottom() {
        check(10 * DEEP, |mut line| while line.pop().is_some() {});
    }

    /// C5: neither does a drain that begins count those below it, which have begun.
    #[test]
    fn drains_may_begin_from_the_bottom() {
        let line = line(10 * DEEP);
        let work = line[line.len() - 1].guard().unwrap();
        for drain in line[1..].iter().rev() {
            assert!(drain.begin());
        }
        line[0].begin();
        assert_eq!((line[0].phase(), line[0].in_flight()), (Phase::Draining, 1));
        drop(work);
        assert!(line.iter().all(|drain| drain.phase() == Phase::Drained));
    }

    #[test]
    fn handles_may_be_dropped_from_the_middle() {
        check(DEEP, |mut line| {
            let rest = line.split_off(DEEP / 2);
            drop(rest);
            drop(line);
        });
    }

    #[test]
    fn the_guard_may_be_dropped_first() {
        let mut line = line(DEEP);
        drop(line[line.len() - 1].guard().unwrap());
        let drained = line[0].until_drained();
        while line.pop().is_some() {}
        drained.wait();
    }
}

/// A hundred thousand children, dropped in any order, all drain and are all waited for.
mod wide {
    use super::{Drain, Guard, Phase};

    const N: usize = 100_000;

    fn check(order: impl FnOnce(&mut Vec<(Drain, Guard)>)) {
        let drain = Drain::new();
        let mut children: Vec<_> = (0..N)
            .map(|_| {
                let child = drain.child();
                let guard = child.guard().unwrap();
                (child, guard)
            })
            .collect();
        assert_eq!(drain.in_flight(), N);
        drain.begin();
        assert!(children.iter().all(|(child, _)| child.is_draining()));
        order(&mut children);
        let (child, guard) = children.swap_remove(N / 2);
        drop(children);
        assert_eq!((drain.phase(), drain.in_flight()), (Phase::Draining, 1));
        drop(guard);
        assert_eq!(
            (drain.phase(), child.phase()),
            (Phase::Drained, Phase::Drained)
        );
    }

    #[test]
    fn children_may_end_in_order() {
        check(|_| ());
    }

    #[test]
    fn children_may_end_in_reverse() {
        check(|children| children.reverse());
    }

    #[test]
    fn children_may_end_in_any_order() {
        check(|children| {
            // 7919 and the number of children have no common factor, so this is a permutation.
            for i in 0..N {
                children.swap(i, i * 7919 % N);
            }
        });
    }
}
