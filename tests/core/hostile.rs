//! Wakers, destructors and callers that misbehave.

use std::{
    cell::RefCell,
    mem,
    sync::{Arc, mpsc},
    task::{Context, Waker},
    thread,
};

use allocation_counter::measure;
use async_drain::{Drain, Guard, Phase, futures::UntilDraining};

use testkit::polling::{Wakes, cell, on_wake, ready};

/// S6: a waker may drop its task inline: the wait that is being woken, and a guard. If we held a
/// lock, this would deadlock.
#[test]
fn a_waker_may_drop_its_task() {
    let drain = Drain::new();
    let task = cell();
    let waker = on_wake({
        let task = Arc::clone(&task);
        move || drop(task.lock().unwrap().take())
    });
    let guard = drain.guard().unwrap();
    let mut waits = (drain.until_draining(), drain.until_drained());
    assert!(!ready(&mut waits.0, &waker));
    assert!(!ready(&mut waits.1, &waker));
    *task.lock().unwrap() = Some((waits, guard));
    drain.begin();
    assert_eq!(drain.phase(), Phase::Drained);
}

/// S6: a waker may poll its task inline, and finds it ready (L1: the phase is raised before any
/// wake).
#[test]
fn a_waker_may_poll_its_task() {
    let drain = Drain::new();
    let task = cell::<UntilDraining>();
    let (tell, told) = mpsc::channel();
    let waker = on_wake({
        let task = Arc::clone(&task);
        move || {
            let mut wait = task.lock().unwrap().take().unwrap();
            tell.send(ready(&mut wait, Waker::noop())).unwrap();
        }
    });
    let mut wait = drain.until_draining();
    assert!(!ready(&mut wait, &waker));
    *task.lock().unwrap() = Some(wait);
    drain.begin();
    assert!(told.recv().unwrap());
}

/// S6: a waker may call every method of the drain that wakes it.
#[test]
fn a_waker_may_use_its_drain() {
    let drain = Drain::tracked();
    let child = drain.child();
    let work = drain.guard().unwrap();
    let (tell, told) = mpsc::channel();
    let waker = on_wake({
        let drain = drain.clone();
        move || {
            let _late = drain.guard().map(|guard| guard.labeled("late"));
            let _ = drain.admit().map_err(|refused| refused.phase());
            let grandchild = drain.child().child();
            let mut other = grandchild.until_drained();
            let _ = ready(&mut other, Waker::noop());
            let _ = (drain.stragglers(), drain.in_flight(), drain.deadline());
            let again = (drain.enter_lame_duck(), drain.begin());
            drain.abort();
            let _ = tell.send(again);
        }
    });
    let mut waits = (
        drain.until_draining(),
        child.until_draining(),
        drain.until_drained(),
    );
    assert!(!ready(&mut waits.0, &waker));
    assert!(!ready(&mut waits.1, &waker));
    assert!(!ready(&mut waits.2, &waker));
    drain.begin();
    drop(work);
    assert_eq!(drain.phase(), Phase::Drained);
    drop((waits, waker));
    assert_eq!(told.iter().collect::<Vec<_>>(), [(false, false); 3]);
}

/// S6: a waker's destructor may use the drain: wakers are dropped outside of our locks too.
#[test]
fn a_waker_may_use_its_drain_when_dropped() {
    let drain = Drain::new();
    let bomb = {
        let drain = drain.clone();
        testkit::polling::OnDrop(move || {
            let mut wait = drain.until_draining();
            let _ = ready(&mut wait, Waker::noop());
        })
    };
    let mut wait = drain.until_draining();
    {
        let waker = on_wake(move || {
            let _ = &bomb;
        });
        assert!(!ready(&mut wait, &waker));
    }
    assert!(!ready(&mut wait, Waker::noop()));
}

/// S6: a waker may drop the last guard during the raise that makes it the last.
#[test]
fn a_waker_may_drop_the_last_guard() {
    let drain = Drain::new();
    let guard = cell::<Guard>();
    let waker = on_wake({
        let guard = Arc::clone(&guard);
        move || drop(guard.lock().unwrap().take())
    });
    let mut draining = drain.until_draining();
    assert!(!ready(&mut draining, &waker));
    *guard.lock().unwrap() = drain.guard().ok();
    let (woken, waker) = Wakes::new();
    let mut drained = drain.until_drained();
    assert!(!ready(&mut drained, &waker));
    drain.begin();
    assert_eq!((drain.phase(), woken.count()), (Phase::Drained, 1));
}

/// S2: guards in thread-locals are dropped when the thread's locals are, and may even be made
/// there.
#[test]
fn guards_may_live_in_thread_locals() {
    struct Local {
        drain: Drain,
        _guard: Guard,
    }
    impl Drop for Local {
        fn drop(&mut self) {
            let late = self.drain.guard().expect("our own guard is still alive");
            drop(late.clone());
            self.drain.begin();
        }
    }
    thread_local!(static LOCAL: RefCell<Option<Local>> = const { RefCell::new(None) });

    for track in [false, true] {
        let drain = if track {
            Drain::tracked()
        } else {
            Drain::new()
        };
        let drained = drain.until_drained();
        let local = Local {
            _guard: drain.guard().unwrap(),
            drain,
        };
        thread::spawn(move || LOCAL.set(Some(local)))
            .join()
            .unwrap();
        drained.wait();
    }
}

/// S2: a forgotten guard is work that never finishes: the drain is never drained, and may abort.
#[test]
fn a_forgotten_guard_is_waited_for() {
    let drain = Drain::new();
    mem::forget(drain.guard().unwrap());
    drain.begin();
    assert_eq!((drain.phase(), drain.in_flight()), (Phase::Draining, 1));
    assert!(drain.abort());
    drain.until_aborting().wait();
    assert!(
        !drain
            .until_drained()
            .wait_timeout(std::time::Duration::ZERO)
    );
    assert_eq!(drain.stragglers().total(), 1);
}

/// L1: a forgotten wait is woken like any other, and does not delay the others.
#[test]
fn a_forgotten_wait_is_woken() {
    let drain = Drain::new();
    let (woken, waker) = Wakes::new();
    for _ in 0..3 {
        let mut wait = drain.until_draining();
        assert!(!ready(&mut wait, &waker));
        mem::forget(wait);
    }
    drain.begin();
    assert_eq!(woken.count(), 3);
}

/// L1: a wait may be polled on one thread, moved, and be ready on another.
#[test]
fn a_wait_may_move_between_threads() {
    let drain = Drain::new();
    let (here, waker) = Wakes::new();
    let mut wait = drain.until_drained();
    assert!(!ready(&mut wait, &waker));
    let (there, waker) = Wakes::new();
    let (mut wait, waker) = thread::spawn(move || {
        assert!(!ready(&mut wait, &waker));
        (wait, waker)
    })
    .join()
    .unwrap();
    drain.begin();
    assert_eq!((here.count(), there.count()), (0, 1));
    assert!(ready(&mut wait, &waker));
}

/// L1: a million waiters are each woken once. C5: they allocate at most 100 bytes each.
#[test]
fn a_million_waiters_are_woken() {
    const N: usize = 1_000_000;
    let drain = Drain::new();
    let (woken, waker) = Wakes::new();
    let mut waits = Vec::with_capacity(N);
    let info = measure(|| {
        for _ in 0..N {
            let mut wait = drain.until_draining();
            let _ = std::pin::Pin::new(&mut wait).poll(&mut Context::from_waker(&waker));
            waits.push(wait);
        }
    });
    let each = usize::try_from(info.bytes_current).unwrap() / N + size_of::<UntilDraining>();
    assert!(each <= 100, "{each} bytes per waiter");
    drain.begin();
    assert_eq!(woken.count(), N);
    drop(waits);
}

/// S2: a million guards are counted and waited for.
#[test]
fn a_million_guards_are_waited_for() {
    const N: usize = 1_000_000;
    let drain = Drain::new();
    let mut guards: Vec<_> = (0..N).map(|_| drain.guard().unwrap()).collect();
    assert_eq!(drain.in_flight(), N);
    drain.begin();
    guards.truncate(1);
    assert_eq!((drain.in_flight(), drain.phase()), (1, Phase::Draining));
    drop(guards);
    assert_eq!(drain.phase(), Phase::Drained);
}

/// A drain leaves no memory behind, nor do its guards, children and waits.
#[test]
fn a_drain_leaves_no_memory_behind() {
    let info = measure(|| {
        for track in [false, true] {
            let drain = Drain::with_shards(4, track);
            let child = drain.child();
            let guards = [drain.guard().unwrap(), child.guard().unwrap()];
            let mut wait = drain.until_drained();
            assert!(!ready(&mut wait, &on_wake(|| ())));
            drop(child);
            let grandchild = drain.child().child();
            drop(drain);
            drop(grandchild);
            drop(guards);
        }
    });
    assert_eq!(info.bytes_current, 0);
}
