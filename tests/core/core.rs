//! Every operation of the core, one at a time.

use std::{
    future::{pending, ready as ready_now},
    pin::pin,
    sync::mpsc,
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use async_drain::{Drain, Drained, Guard, Phase};
use futures_core::FusedFuture;

use testkit::polling::{Wakes, on_wake, poll, ready};

type Step = fn(&Drain) -> bool;

const STEPS: [(Phase, Step); 3] = [
    (Phase::LameDuck, Drain::enter_lame_duck),
    (Phase::Draining, Drain::begin),
    (Phase::Aborting, Drain::abort),
];

/// S1: in any order of calls, the phase is the furthest that was asked for, and each call says
/// whether it moved the phase.
#[test]
fn phases_only_move_forward() {
    for order in 0..STEPS.len().pow(4) {
        let drain = Drain::new();
        let work = drain.guard().unwrap();
        let mut furthest = Phase::Running;
        let mut order = order;
        for _ in 0..4 {
            let (phase, step) = STEPS[order % STEPS.len()];
            order /= STEPS.len();
            assert_eq!(step(&drain), phase > furthest);
            furthest = furthest.max(phase);
            assert_eq!(drain.phase(), furthest);
            assert_eq!(drain.is_draining(), furthest >= Phase::Draining);
            assert_eq!(work.is_draining(), furthest >= Phase::Draining);
        }
        drop(work);
        assert_eq!(drain.phase() == Phase::Drained, furthest >= Phase::Draining);
    }
}

/// S1: nothing moves a drain that is drained.
#[test]
fn a_drained_drain_never_changes() {
    let drain = Drain::new();
    assert!(drain.begin());
    for (_, step) in STEPS {
        assert!(!step(&drain));
        assert_eq!(drain.phase(), Phase::Drained);
    }
    assert!(!drain.begin_with_deadline(Instant::now()));
}

/// S2: while one of many guards is alive, on any thread, the drain is not drained.
#[test]
fn every_guard_is_waited_for() {
    const THREADS: usize = 8;
    for last in 0..THREADS {
        let drain = Drain::with_shards(4, false);
        let mut guards: Vec<Guard> = (0..THREADS)
            .map(|_| thread::scope(|s| s.spawn(|| drain.guard().unwrap()).join().unwrap()))
            .collect();
        assert_eq!(drain.in_flight(), THREADS);
        drain.begin();
        let survivor = guards.swap_remove(last);
        drop(guards);
        assert_eq!(drain.in_flight(), 1);
        assert_eq!(drain.phase(), Phase::Draining);
        drop(survivor);
        assert_eq!(drain.phase(), Phase::Drained);
    }
}

/// S2: a clone counts as one more guard.
#[test]
fn a_cloned_guard_counts() {
    let drain = Drain::new();
    let original = drain.guard().unwrap();
    let clone = original.clone();
    assert_eq!(drain.in_flight(), 2);
    drain.begin();
    drop(original);
    assert_eq!(drain.phase(), Phase::Draining);
    drop(clone);
    assert_eq!(drain.phase(), Phase::Drained);
}

/// S3: once drained, no thread gets a guard from any handle.
#[test]
fn a_drained_drain_gives_no_guards() {
    let drain = Drain::with_shards(8, false);
    drain.begin();
    for _ in 0..16 {
        thread::scope(|s| {
            s.spawn(|| {
                let _: Drained = drain.guard().unwrap_err();
                assert_eq!(drain.clone().admit().unwrap_err().phase(), Phase::Drained);
            });
        });
    }
    assert_eq!(drain.in_flight(), 0);
}

/// S3: while one guard is alive, on any shard, work that was promised gets another, from any
/// thread.
#[test]
fn new_guards_are_available_while_one_is_alive() {
    for _ in 0..8 {
        let drain = Drain::with_shards(4, false);
        let work = thread::scope(|s| s.spawn(|| drain.guard().unwrap()).join().unwrap());
        drain.begin();
        for _ in 0..8 {
            thread::scope(|s| {
                s.spawn(|| drop(drain.guard().expect("a guard is alive")));
            });
        }
        drop(work);
        assert!(drain.guard().is_err());
    }
}

/// S4: in lame duck all work is admitted; from draining on new work is refused, and the error names
/// the phase.
#[test]
fn admission_ends_when_draining_begins() {
    let drain = Drain::new();
    assert!(drain.admit().is_ok());
    drain.enter_lame_duck();
    let work = drain.admit().expect("a lame duck still accepts");
    drain.begin();
    assert_eq!(drain.admit().unwrap_err().phase(), Phase::Draining);
    assert!(drain.guard().is_ok());
    drain.abort();
    assert_eq!(drain.admit().unwrap_err().phase(), Phase::Aborting);
    drop(work);
    let refused = drain.admit().unwrap_err();
    assert_eq!(
        refused.to_string(),
        "new work refused: the drain is drained"
    );
}

/// S4: a running drain does not end when its count falls to zero, however often that happens.
#[test]
fn a_count_of_zero_does_not_end_a_running_drain() {
    let drain = Drain::new();
    let (woken, waker) = Wakes::new();
    let mut drained = drain.until_drained();
    assert!(!ready(&mut drained, &waker));
    for _ in 0..10 {
        drop(drain.guard().unwrap());
    }
    assert_eq!((woken.count(), drain.phase()), (0, Phase::Running));
    assert!(!ready(&mut drained, &waker));
}

/// S3 S4: an observer sees what a handle sees, gives guards as long as that does, and does not keep
/// the drain running.
#[test]
fn an_observer_sees_what_a_handle_sees() {
    let drain = Drain::tracked();
    let observer = drain.observer();
    assert_eq!((observer.in_flight(), observer.deadline()), (0, None));
    assert!(!observer.is_draining());
    let guards = [observer.guard().unwrap(), observer.admit().unwrap()];
    assert_eq!((observer.in_flight(), drain.in_flight()), (2, 2));
    assert_eq!(observer.stragglers().total(), 2);
    let deadline = Instant::now() + Duration::from_secs(1000);
    drain.begin_with_deadline(deadline);
    assert!(observer.is_draining());
    assert_eq!(observer.deadline(), Some(deadline));
    assert!(observer.admit().is_err());
    drop((observer.guard().unwrap(), guards));
    assert_eq!(observer.phase(), Phase::Drained);
    assert!(observer.guard().is_err());

    let drain = Drain::new();
    let observer = drain.observer();
    drop(drain);
    assert_eq!(observer.phase(), Phase::Drained);
}

/// A drain without handles could not be begun, so the last handle's drop begins it.
#[test]
fn the_last_handles_drop_begins_the_drain() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    let drained = drain.until_drained();
    let clone = drain.clone();
    drop(drain);
    assert!(!work.is_draining());
    drop(clone);
    assert!(work.is_draining());
    drop(work);
    drained.wait();
}

/// L1: each phase wakes the waits for it and for the phases before it, once, and no others.
#[test]
fn a_phase_wakes_the_waits_that_it_ends() {
    for (reached, step) in STEPS {
        let drain = Drain::new();
        let _work = drain.guard().unwrap();
        let all = [(); 4].map(|()| Wakes::new());
        let mut lame_duck = drain.until_lame_duck();
        let mut draining = drain.until_draining();
        let mut aborting = drain.until_aborting();
        let mut drained = drain.until_drained();
        assert!(!ready(&mut lame_duck, &all[0].1));
        assert!(!ready(&mut draining, &all[1].1));
        assert!(!ready(&mut aborting, &all[2].1));
        assert!(!ready(&mut drained, &all[3].1));

        step(&drain);
        let counts: Vec<_> = all.iter().map(|(woken, _)| woken.count()).collect();
        let due: Vec<_> = (1..=4)
            .map(|phase| usize::from(phase <= reached as u8))
            .collect();
        assert_eq!(counts, due, "{reached}");
        assert!(ready(&mut lame_duck, &all[0].1));
        assert_eq!(ready(&mut draining, &all[1].1), reached >= Phase::Draining);
        assert_eq!(ready(&mut aborting, &all[2].1), reached >= Phase::Aborting);
        assert!(!ready(&mut drained, &all[3].1));
    }
}

/// L1: a drain that ends without aborting ends the waits for aborting too.
#[test]
fn drained_ends_the_waits_for_aborting() {
    let drain = Drain::new();
    let (woken, waker) = Wakes::new();
    let mut aborting = drain.until_aborting();
    assert!(!ready(&mut aborting, &waker));
    drain.begin();
    assert_eq!(woken.count(), 1);
    assert!(ready(&mut aborting, &waker));
}

/// L1: waits are level-triggered: whether made before, made after or polled again, all are ready at
/// once.
#[test]
fn late_waits_are_ready_at_once() {
    let drain = Drain::new();
    let mut early = drain.until_drained();
    drain.begin();
    let waker = Waker::noop();
    for _ in 0..3 {
        assert!(ready(&mut early, waker));
        assert!(ready(&mut drain.until_lame_duck(), waker));
        assert!(ready(&mut drain.until_draining(), waker));
        assert!(ready(&mut drain.until_aborting(), waker));
        assert!(ready(&mut drain.until_drained(), waker));
    }
    drain.until_drained().wait();
    assert!(drain.until_drained().wait_timeout(Duration::ZERO));
}

/// L1: a wait is terminated once it was ready, and not before, so that a loop over `select!` takes
/// its branch once.
#[test]
fn a_wait_is_terminated_once_it_has_answered() {
    let drain = Drain::new();
    let (mut early, mut unasked) = (drain.until_draining(), drain.until_draining());
    assert!(!ready(&mut early, Waker::noop()));
    assert!(!early.is_terminated());
    drain.begin();
    assert!(!early.is_terminated());
    assert!(!unasked.is_terminated());
    for wait in [&mut early, &mut unasked, &mut drain.until_draining()] {
        for _ in 0..2 {
            assert!(ready(wait, Waker::noop()));
            assert!(wait.is_terminated());
        }
    }
}

/// L1: a waiting thread keeps a park token that was given to it for another reason.
#[test]
fn waiting_keeps_the_park_token() {
    let drain = Drain::new();
    // Not in a scope, whose end takes the token.
    let beginner = thread::spawn({
        let (drain, main) = (drain.clone(), thread::current());
        move || {
            main.unpark();
            drain.begin();
        }
    });
    drain.until_draining().wait();
    assert!(drain.until_draining().wait_timeout(Duration::ZERO));
    beginner.join().unwrap();
    thread::current().unpark();
    let other = Drain::new();
    assert!(
        !other
            .until_draining()
            .wait_timeout(Duration::from_millis(5))
    );
    let start = Instant::now();
    thread::park_timeout(Duration::from_secs(10));
    assert!(
        start.elapsed() < Duration::from_secs(10),
        "the token was taken"
    );
}

/// L2: the drop of the last guard wakes the waits for drained before it returns.
#[test]
fn the_last_guards_drop_wakes() {
    let drain = Drain::new();
    let guards = [drain.guard().unwrap(), drain.guard().unwrap()];
    let (woken, waker) = Wakes::new();
    let mut drained = drain.until_drained();
    assert!(!ready(&mut drained, &waker));
    drain.begin();
    let [first, last] = guards;
    drop(first);
    assert_eq!(woken.count(), 0);
    drop(last);
    assert_eq!(woken.count(), 1);
    assert!(ready(&mut drained, &waker));
}

/// L2: a blocked thread is woken as a task is.
#[test]
fn a_blocked_thread_is_woken() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    thread::scope(|s| {
        let (at_wait, waiting) = mpsc::channel();
        let drained = drain.until_drained();
        s.spawn(move || {
            at_wait.send(()).unwrap();
            drained.wait();
        });
        waiting.recv().unwrap();
        drain.begin();
        drop(work);
    });
}

/// A timed wait lasts for its limit, or until the phase is reached.
#[test]
fn a_timed_wait_ends_with_its_limit_or_its_phase() {
    let drain = Drain::new();
    let (start, limit) = (Instant::now(), Duration::from_millis(5));
    assert!(!drain.until_draining().wait_timeout(limit));
    assert!(start.elapsed() >= limit);
    assert!(!drain.until_draining().wait_timeout(Duration::ZERO));
    thread::scope(|s| {
        let draining = drain.until_draining();
        s.spawn(|| assert!(draining.wait_timeout(Duration::from_secs(600))));
        drain.begin();
    });
}

/// L2: a limit that overflows `Instant` means no limit, and causes no panic.
#[test]
fn a_limit_that_overflows_means_no_limit() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    drain.begin();
    thread::scope(|s| {
        s.spawn(|| assert!(drain.until_drained().wait_timeout(Duration::MAX)));
        drop(work);
    });
}

/// S5: a thread that sees drained sees all that a task wrote before its guard dropped.
#[test]
fn work_is_visible_once_drained() {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    static DONE: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];
    for round in 1..200 {
        let drain = Drain::with_shards(4, false);
        thread::scope(|s| {
            for done in &DONE {
                let guard = drain.guard().unwrap();
                s.spawn(move || {
                    done.store(round, Relaxed);
                    drop(guard);
                });
            }
            drain.begin();
            drain.until_drained().wait();
            assert!(DONE.iter().all(|done| done.load(Relaxed) == round));
        });
    }
}

/// S7: a task that a phase wakes reads the deadline that was set with that phase.
#[test]
fn a_task_woken_by_a_phase_reads_its_deadline() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    assert_eq!((drain.deadline(), work.deadline()), (None, None));
    let deadline = Instant::now() + Duration::from_secs(60);
    let (tell, told) = mpsc::channel();
    let waker = on_wake({
        let work = work.clone();
        move || tell.send(work.deadline()).unwrap()
    });
    let mut draining = drain.until_draining();
    assert!(!ready(&mut draining, &waker));
    assert!(drain.begin_with_deadline(deadline));
    assert_eq!(told.recv().unwrap(), Some(deadline));
}

/// S7: of two deadlines for draining the earlier wins, in either order.
#[test]
fn the_earlier_deadline_holds() {
    let soon = Instant::now() + Duration::from_secs(1);
    let late = soon + Duration::from_secs(1);
    for (first, second) in [(soon, late), (late, soon)] {
        let drain = Drain::new();
        let _work = drain.guard().unwrap();
        assert!(drain.begin_with_deadline(first));
        assert!(!drain.begin_with_deadline(second));
        assert_eq!(drain.deadline(), Some(soon));
    }
}

/// `finish` ends with the last guard; if its timer ends first, it aborts.
#[test]
fn finish_waits_no_longer_than_its_timer() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    let waker = Waker::noop();
    {
        let mut finish = pin!(drain.finish(pending::<()>()));
        assert!(poll(finish.as_mut(), waker).is_pending());
        assert_eq!(drain.phase(), Phase::Draining);
    }
    let Poll::Ready(report) = poll(pin!(drain.finish(ready_now(()))), waker) else {
        panic!("the timer was ready");
    };
    assert_eq!(
        (report.is_drained(), report.stragglers().total()),
        (false, 1)
    );
    assert_eq!(drain.phase(), Phase::Aborting);
    drop(work);
    let Poll::Ready(report) = poll(pin!(drain.finish(pending::<()>())), waker) else {
        panic!("no guard was left");
    };
    // S8: the work has ended by now, but was alive when aborting began.
    assert_eq!(
        (report.stragglers().total(), report.still_running()),
        (1, 0)
    );
}

/// If the drain is drained and the timer is ready as well, the report says drained.
#[test]
fn a_drained_drain_wins_over_a_ready_timer() {
    let drain = Drain::new();
    let Poll::Ready(report) = poll(pin!(drain.finish(ready_now(()))), Waker::noop()) else {
        panic!("both were ready");
    };
    assert!(report.is_drained());
}

/// `Debug` shows phase and count.
#[test]
fn debug_shows_phase_and_count() {
    let drain = Drain::new();
    let work = drain.guard().unwrap();
    assert_eq!(
        format!("{drain:?}"),
        "Drain { phase: Running, in_flight: 1, .. }"
    );
    drain.begin();
    assert_eq!(format!("{work:?}"), "Guard { phase: Draining, .. }");
    assert_eq!(
        format!("{:?}", drain.until_drained()),
        "UntilDrained { phase: Draining, .. }"
    );
}

/// Any number of shards makes a drain, and they are rounded up.
#[test]
fn any_number_of_shards_works() {
    for shards in [0, 1, 3, 64, usize::MAX] {
        let drain = Drain::with_shards(shards, false);
        let work = drain.guard().unwrap();
        assert_eq!(drain.in_flight(), 1);
        drain.begin();
        drop(work);
        assert_eq!(drain.phase(), Phase::Drained);
    }
}

#[cfg(feature = "async-io")]
mod within {
    use super::{Drain, Phase};
    use futures_lite::future::block_on;
    use std::time::{Duration, Instant};

    /// S7: the deadline of a timed `finish` is published, and is not before its time.
    #[test]
    fn a_timed_finish_publishes_its_deadline() {
        let drain = Drain::new();
        let work = drain.guard().unwrap();
        let limit = Duration::from_millis(20);
        let start = Instant::now();
        let report = block_on(drain.finish_within(limit));
        assert!(start.elapsed() >= limit);
        assert!(work.deadline().unwrap() >= start + limit);
        assert_eq!(
            (report.is_drained(), drain.phase()),
            (false, Phase::Aborting)
        );
    }

    /// A limit that overflows `Instant` means no limit, and causes no panic.
    #[test]
    fn a_finish_whose_limit_overflows_has_no_limit() {
        assert!(block_on(Drain::new().finish_within(Duration::MAX)).is_drained());
    }
}
