//! A drain after a fork: the child has a copy, and the drain of the parent is unchanged.
//!
//! The test is in this crate because `fork` is unsafe, and async-drain forbids unsafe code in its
//! tests too.
#![cfg(unix)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use async_drain::{Drain, Guard, Phase};

/// Runs `child` in a forked process, and returns whether it ended without a panic.
fn in_a_child(child: impl FnOnce()) -> bool {
    // SAFETY: the child has only this thread, and uses no lock that another thread of the parent
    // could have held: the locks of the drain belong to this test, and libc takes care of the
    // allocator's. It ends by `_exit`, without running destructors of the parent.
    match unsafe { libc::fork() } {
        -1 => panic!("no fork: {}", std::io::Error::last_os_error()),
        0 => {
            let ended = catch_unwind(AssertUnwindSafe(child)).is_ok();
            // SAFETY: it ends the process, and no Rust code runs afterwards.
            unsafe { libc::_exit(i32::from(!ended)) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: the child is ours, no other code waits for it, and `status` outlives the
            // call.
            let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
            assert_eq!(waited, pid, "{}", std::io::Error::last_os_error());
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

struct Scene {
    drain: Drain,
    below: Drain,
    guards: Vec<Guard>,
}

impl Scene {
    fn new(track: bool) -> Self {
        let drain = Drain::with_shards(4, track);
        let below = drain.child();
        let guards = vec![drain.guard().unwrap(), below.guard().unwrap()];
        Self {
            drain,
            below,
            guards,
        }
    }

    /// Goes from two guards to fewer, to more, and to none.
    fn play_out(self) {
        let Self {
            drain,
            below,
            mut guards,
        } = self;
        assert_eq!((drain.phase(), drain.in_flight()), (Phase::Running, 2));
        guards.pop();
        guards.push(below.admit().unwrap());
        guards.push(drain.guard().unwrap());
        assert_eq!(drain.in_flight(), 3);
        assert!(drain.begin());
        assert!(below.admit().is_err());
        assert_eq!(drain.stragglers().total(), 3);
        drop(guards);
        drain.until_drained().wait();
        assert!(drain.guard().is_err());
        assert_eq!((drain.in_flight(), below.phase()), (0, Phase::Drained));
    }
}

/// S2, S3: the child counts for itself and may drain. The guards and waiters of the parent are not
/// affected.
#[test]
fn a_forked_child_has_a_drain_of_its_own() {
    for track in [false, true] {
        let scene = Scene::new(track);
        let wakes = Arc::new(Wakes(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut drained = scene.drain.until_drained();
        let mut poll = || Pin::new(&mut drained).poll(&mut Context::from_waker(&waker));
        assert_eq!(poll(), Poll::Pending);
        let scene = std::cell::Cell::new(Some(scene));
        let child = || {
            let scene = scene.take().expect("one of each process");
            scene.play_out();
            assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        };
        assert!(in_a_child(child));
        assert_eq!((wakes.0.load(Ordering::SeqCst), poll()), (0, Poll::Pending));
        scene.take().expect("one of each process").play_out();
        assert_eq!(
            (wakes.0.load(Ordering::SeqCst), poll()),
            (1, Poll::Ready(()))
        );
    }
}

/// S2: a child that keeps guards, or ends without dropping them, doesn't delay its parent.
#[test]
fn a_forked_child_does_not_delay_its_parent() {
    let Scene {
        drain,
        below: _below,
        guards,
    } = Scene::new(true);
    assert!(in_a_child(|| {
        drain.begin();
        assert_eq!((drain.phase(), drain.in_flight()), (Phase::Draining, 2));
    }));
    assert_eq!(drain.phase(), Phase::Running);
    drain.begin();
    drop(guards);
    assert_eq!(drain.phase(), Phase::Drained);
}

/// A failure in the child fails the test.
#[test]
fn a_panic_in_a_forked_child_is_seen() {
    assert!(!in_a_child(|| {
        // Not by `panic!`: its hook prints, and another test may hold the lock of stderr.
        std::panic::resume_unwind(Box::new(()));
    }));
}
