//! Small models, which loom explores whole. Each names the promise that it holds and has been seen
//! to fail without it, by `ci/broken.sh`. `ci/loom.sh` runs them, and `ci/shuttle.sh` too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize as Plain, Ordering::SeqCst},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

#[cfg(loom)]
use loom::future::block_on;
#[cfg(shuttle)]
use shuttle::future::block_on;

use super::{Works, counter, drain, explore, on};
use crate::drain::{
    Drain,
    guard::Guard,
    latch::{Latch, WaitList, Waiter},
    node::Node,
    phase::Phase,
    presence::Presence,
    seat::Seat,
    sync::{self, AtomicUsize, Ordering::Relaxed},
    thread_index::set_thread_index,
    work_state::WorkState,
};

/// L1 L2: the last guard's drop races the waiter between its look and its sleep. The waiter wakes.
#[test]
fn last_drop_vs_wait() {
    explore("last_drop_vs_wait", || {
        let (drain, works) = (drain(1), Works::new());
        let work = works.under(drain.guard().unwrap());
        drain.begin();
        let worker = on(0, || drop(work));
        block_on(drain.until_drained());
        works.check_drained();
        worker.join().unwrap();
    });
}

/// L1 L2: the same, but a third thread begins the drain: either of the two may end it.
#[test]
fn last_drop_vs_begin_vs_wait() {
    explore("last_drop_vs_begin_vs_wait", || {
        let (drain, works) = (drain(1), Works::new());
        let work = works.under(drain.guard().unwrap());
        let drained = drain.until_drained();
        let worker = on(0, || drop(work));
        let beginner = on(0, move || drop(drain));
        block_on(drained);
        works.check_drained();
        worker.join().unwrap();
        beginner.join().unwrap();
    });
}

fn begin_vs_guard(name: &str, shards: usize) {
    explore(name, move || {
        let (drain, works) = (drain(shards), Works::new());
        let worker = on(1, {
            let (drain, works) = (drain.clone(), works.clone());
            move || match drain.guard() {
                Ok(guard) => {
                    let work = works.under(guard);
                    assert_ne!(drain.phase(), Phase::Drained);
                    drop(work);
                }
                Err(_) => assert!(drain.is_draining(), "refused while running"),
            }
        });
        drain.begin();
        block_on(drain.until_drained());
        works.check_drained();
        assert!(drain.guard().is_err());
        worker.join().unwrap();
    });
}

/// S2 S3 S4: begin races a new guard. It is either waited for or refused, and if refused, not while
/// running.
#[test]
fn begin_vs_guard_on_one_shard() {
    begin_vs_guard("begin_vs_guard_on_one_shard", 1);
}

/// S2 S3 S4: the same where the guard's shard is not the one that ends last.
#[test]
fn begin_vs_guard_on_two_shards() {
    begin_vs_guard("begin_vs_guard_on_two_shards", 2);
}

/// S2 S3 S5: begin races a guard that takes the seat which a tracked guard before it has left.
#[test]
fn begin_vs_seat_taken_again() {
    explore("begin_vs_seat_taken_again", || {
        let drain = Drain::with_shards(1, true);
        let works = Works::new();
        // More than the registry makes before it looks for seats that were left.
        for _ in 0..5 {
            drop(drain.guard().unwrap());
        }
        let worker = on(1, {
            let (drain, works) = (drain.clone(), works.clone());
            move || match drain.guard() {
                Ok(guard) => drop(works.under(guard)),
                Err(_) => assert!(drain.is_draining(), "refused while running"),
            }
        });
        drain.begin();
        block_on(drain.until_drained());
        works.check_drained();
        assert!(drain.guard().is_err());
        assert_eq!(drain.in_flight(), 0);
        worker.join().unwrap();
    });
}

/// S4: admission races begin. Once a thread can see draining it is not admitted, and none is
/// refused while running.
#[test]
fn begin_vs_admit() {
    explore("begin_vs_admit", || {
        let (drain, works) = (drain(2), Works::new());
        let worker = on(1, {
            let (drain, works) = (drain.clone(), works.clone());
            move || {
                let begun = drain.is_draining();
                match drain.admit() {
                    Ok(guard) => {
                        assert!(!begun, "admitted while draining");
                        drop(works.under(guard));
                    }
                    Err(refused) => {
                        assert!(refused.phase() >= Phase::Draining);
                        assert!(drain.is_draining(), "refused while running");
                    }
                }
            }
        });
        drain.begin();
        assert!(drain.admit().is_err());
        block_on(drain.until_drained());
        works.check_drained();
        worker.join().unwrap();
    });
}

fn begin_vs_clone(name: &str, shards: usize) {
    explore(name, move || {
        let (drain, works) = (drain(shards), Works::new());
        let first = works.under(drain.guard().unwrap());
        let worker = on(1, {
            let works = works.clone();
            move || {
                let second = works.under(first.guard.clone().unwrap());
                drop(first);
                drop(second);
            }
        });
        drain.begin();
        block_on(drain.until_drained());
        works.check_drained();
        worker.join().unwrap();
    });
}

/// S2: begin races a clone that outlives its original.
#[test]
fn begin_vs_clone_on_one_shard() {
    begin_vs_clone("begin_vs_clone_on_one_shard", 1);
}

/// S2: the same with a shard that is empty at once.
#[test]
fn begin_vs_clone_on_two_shards() {
    begin_vs_clone("begin_vs_clone_on_two_shards", 2);
}

/// S2 S3 S5: a late guard races the last drops on both shards. It is refused only if nothing is
/// alive, and the refused thread sees all of the work.
#[test]
fn late_guard_vs_last_shard() {
    explore("late_guard_vs_last_shard", || {
        let (drain, works) = (drain(2), Works::new());
        let own = works.under(drain.guard().unwrap());
        set_thread_index(1);
        let other = works.under(drain.guard().unwrap());
        drain.begin();
        let worker = on(1, || drop(other));
        let late = on(0, {
            let (drain, works) = (drain.clone(), works.clone());
            move || match drain.guard() {
                Ok(guard) => drop(works.under(guard)),
                Err(_) => works.check_drained(),
            }
        });
        drop(own);
        block_on(drain.until_drained());
        works.check_drained();
        assert!(drain.guard().is_err());
        late.join().unwrap();
        worker.join().unwrap();
    });
}

/// L1 S5: a task waits for drained, and a thread merely reads the phase. Both see all of the work.
#[test]
fn two_observers() {
    explore("two_observers", || {
        let (drain, works) = (drain(1), Works::new());
        let work = works.under(drain.guard().unwrap());
        drain.begin();
        let observer = on(0, {
            let (drain, works) = (drain.clone(), works.clone());
            move || {
                block_on(drain.until_drained());
                works.check_drained();
            }
        });
        let worker = on(0, || drop(work));
        if drain.phase() == Phase::Drained {
            works.check_drained();
        }
        block_on(drain.until_drained());
        works.check_drained();
        worker.join().unwrap();
        observer.join().unwrap();
    });
}

/// S5: work on two shards is visible to a thread that merely reads the phase, and is not woken.
#[test]
fn work_is_visible_across_shards() {
    explore("work_is_visible_across_shards", || {
        let (drain, works) = (drain(2), Works::new());
        let here = works.under(drain.guard().unwrap());
        set_thread_index(1);
        let there = works.under(drain.guard().unwrap());
        drain.begin();
        let worker = on(1, || drop(there));
        let other = on(0, || drop(here));
        if drain.phase() == Phase::Drained {
            works.check_drained();
        }
        worker.join().unwrap();
        other.join().unwrap();
        assert_eq!(drain.phase(), Phase::Drained);
        works.check_drained();
    });
}

/// S5: work under a child's guard is visible to a thread that merely reads the parent's phase.
#[test]
fn work_is_visible_across_the_tree() {
    explore("work_is_visible_across_the_tree", || {
        let (drain, works) = (drain(1), Works::new());
        let child = drain.child();
        let work = works.under(child.guard().unwrap());
        drain.begin();
        let worker = on(0, || drop(work));
        if drain.phase() == Phase::Drained {
            works.check_drained();
        }
        worker.join().unwrap();
        assert_eq!(drain.phase(), Phase::Drained);
    });
}

/// E1: what was done before a raise is visible to a thread that sees the phase, also after a later
/// raise by another thread.
#[test]
fn raise_publishes() {
    explore("raise_publishes", || {
        let shared = Arc::new((Latch::new(), AtomicUsize::new(0)));
        let first = on(0, {
            let shared = Arc::clone(&shared);
            move || {
                shared.1.store(1, Relaxed);
                shared.0.advance(Phase::Draining);
            }
        });
        let second = on(0, {
            let shared = Arc::clone(&shared);
            move || {
                if shared.0.advance(Phase::Aborting) >= Phase::Draining {
                    assert_eq!(shared.1.load(Relaxed), 1);
                }
            }
        });
        if shared.0.is(Phase::Draining) && !shared.0.is(Phase::Aborting) {
            assert_eq!(shared.1.load(Relaxed), 1);
        }
        first.join().unwrap();
        second.join().unwrap();
        assert!(shared.0.is(Phase::Aborting));
    });
}

/// S1: the phase never moves back under two threads that raise it, and one of them did each step.
#[test]
fn begin_vs_abort() {
    explore("begin_vs_abort", || {
        let drain = drain(1);
        let work = drain.guard().unwrap();
        let aborter = on(0, {
            let drain = drain.clone();
            move || assert!(drain.abort())
        });
        let before = drain.phase();
        let begun = drain.begin();
        assert!(drain.phase() >= before.max(Phase::Draining));
        assert!(!begun || before == Phase::Running);
        aborter.join().unwrap();
        assert_eq!(drain.phase(), Phase::Aborting);
        drop(work);
        assert_eq!(drain.phase(), Phase::Drained);
    });
}

/// S1: the same under three threads.
#[test]
#[ignore = "minutes: LOOM_ALL=1 ci/loom.sh"]
fn begin_vs_abort_vs_begin() {
    explore("begin_vs_abort_vs_begin", || {
        let drain = drain(1);
        let work = drain.guard().unwrap();
        let did = Arc::new(Plain::new(0));
        let begin = |drain: Drain, did: Arc<Plain>| {
            move || {
                did.fetch_add(usize::from(drain.begin()), SeqCst);
            }
        };
        let beginner = on(0, begin(drain.clone(), Arc::clone(&did)));
        let aborter = on(0, {
            let drain = drain.clone();
            move || assert!(drain.abort())
        });
        let before = drain.phase();
        begin(drain.clone(), Arc::clone(&did))();
        assert!(drain.phase() >= before.max(Phase::Draining));
        beginner.join().unwrap();
        aborter.join().unwrap();
        assert!(did.load(SeqCst) <= 1);
        assert_eq!(drain.phase(), Phase::Aborting);
        drop(work);
        assert_eq!(drain.phase(), Phase::Drained);
    });
}

/// A running drain with a guard, and the wait list of its first shard.
fn waiting() -> (Drain, Guard, Arc<WaitList>) {
    let drain = drain(1);
    let work = drain.guard().unwrap();
    let list = Node::wait_list(drain.node()).unwrap();
    (drain, work, list)
}

fn poll(list: &WaitList, waiter: &mut Waiter, waker: &Waker) -> bool {
    list.poll(Phase::Draining, waiter, &mut Context::from_waker(waker)) == Poll::Ready(())
}

fn begins(drain: &Drain) -> impl FnOnce() + Send + 'static {
    let drain = drain.clone();
    move || {
        drain.begin();
    }
}

/// L1: raise races the first poll. It answers, or its waker is woken.
#[test]
fn raise_vs_poll() {
    explore("raise_vs_poll", || {
        let (drain, work, list) = waiting();
        let raiser = on(0, begins(&drain));
        let (count, waker) = counter();
        let mut waiter = Waiter::default();
        let answered = poll(&list, &mut waiter, &waker);
        raiser.join().unwrap();
        assert_eq!(count.get(), usize::from(!answered));
        assert!(poll(&list, &mut waiter, &waker));
        list.leave(Phase::Draining, &mut waiter);
        drop(work);
    });
}

/// L1: raise races the first wait in a child, which creates the list. It answers, or its waker is
/// woken.
#[test]
fn raise_vs_first_wait_in_a_child() {
    explore("raise_vs_first_wait_in_a_child", || {
        let drain = drain(1);
        let child = drain.child();
        let raiser = on(0, begins(&drain));
        block_on(child.until_draining());
        block_on(child.until_drained());
        raiser.join().unwrap();
    });
}

/// L1: a raise races the begin of a child, which ends with it. The wait for the earlier phase is
/// woken, whichever thread takes the list.
#[test]
fn lame_duck_vs_end_of_a_child() {
    explore("lame_duck_vs_end_of_a_child", || {
        let drain = drain(1);
        let child = drain.child();
        let list = Node::wait_list(child.node()).unwrap();
        let (count, waker) = counter();
        let mut waiter = Waiter::default();
        let mut cx = Context::from_waker(&waker);
        assert!(
            list.poll(Phase::LameDuck, &mut waiter, &mut cx)
                .is_pending()
        );
        let raiser = on(0, {
            let child = child.clone();
            move || {
                child.enter_lame_duck();
            }
        });
        child.begin();
        raiser.join().unwrap();
        assert_eq!(count.get(), 1);
        list.leave(Phase::LameDuck, &mut waiter);
    });
}

/// L1: raise races a re-poll with another waker. That one is woken, unless the poll answered.
#[test]
fn raise_vs_repoll() {
    explore("raise_vs_repoll", || {
        let (drain, work, list) = waiting();
        let (old, old_waker) = counter();
        let (new, new_waker) = counter();
        let mut waiter = Waiter::default();
        assert!(!poll(&list, &mut waiter, &old_waker));
        let raiser = on(0, begins(&drain));
        let answered = poll(&list, &mut waiter, &new_waker);
        raiser.join().unwrap();
        if answered {
            assert_eq!((old.get(), new.get()), (1, 0));
        } else {
            assert_eq!((old.get(), new.get()), (0, 1));
        }
        list.leave(Phase::Draining, &mut waiter);
        drop(work);
    });
}

/// L1: raise races the drop of one wait and the start of another, which may get its slot. The
/// second is not lost.
#[test]
fn raise_vs_leave() {
    explore("raise_vs_leave", || {
        let (drain, work, list) = waiting();
        let (_, gone_waker) = counter();
        let mut gone = Waiter::default();
        assert!(!poll(&list, &mut gone, &gone_waker));
        let raiser = on(0, begins(&drain));
        let leaver = on(0, {
            let list = list.clone();
            move || list.leave(Phase::Draining, &mut gone)
        });
        let (count, waker) = counter();
        let mut waiter = Waiter::default();
        let answered = poll(&list, &mut waiter, &waker);
        raiser.join().unwrap();
        leaver.join().unwrap();
        assert_eq!(count.get(), usize::from(!answered));
        list.leave(Phase::Draining, &mut waiter);
        drop(work);
    });
}

/// S1 S2 L1: a child made while the parent begins is told, by the parent or by itself, and is
/// waited for.
#[test]
fn begin_vs_child() {
    explore("begin_vs_child", || {
        let (drain, works) = (drain(1), Works::new());
        let maker = on(0, {
            let (drain, works) = (drain.clone(), works.clone());
            move || {
                let child = drain.child();
                if let Ok(guard) = child.guard() {
                    let work = works.under(guard);
                    block_on(child.until_draining());
                    drop(work);
                }
                block_on(child.until_drained());
            }
        });
        drain.begin();
        block_on(drain.until_drained());
        works.check_drained();
        maker.join().unwrap();
    });
}

/// S1 L1: a child made while the parent begins is told, although work keeps the parent from ending,
/// which would refuse the child.
#[test]
fn begin_vs_child_beside_work() {
    explore("begin_vs_child_beside_work", || {
        let drain = drain(1);
        let work = drain.guard();
        let maker = on(0, {
            let drain = drain.clone();
            move || block_on(drain.child().until_draining())
        });
        drain.begin();
        maker.join().unwrap();
        drop(work);
    });
}

/// S2: the first guards of an empty child on two threads, while the parent begins: all are waited
/// for.
#[test]
fn begin_vs_first_guards_of_a_child() {
    explore("begin_vs_first_guards_of_a_child", || {
        let (drain, works) = (drain(1), Works::new());
        let child = drain.child();
        let worker = |slot| {
            on(slot, {
                let (child, works) = (child.clone(), works.clone());
                move || match child.guard() {
                    Ok(guard) => drop(works.under(guard)),
                    Err(_) => assert!(child.is_draining(), "refused while running"),
                }
            })
        };
        let workers = [worker(0), worker(1)];
        drain.begin();
        if drain.phase() == Phase::Drained {
            works.check_drained();
        }
        for worker in workers {
            worker.join().unwrap();
        }
        block_on(drain.until_drained());
        works.check_drained();
    });
}

/// L2: the end of a child, by its last guard or its last handle, races the parent's beginning. Both
/// end.
#[test]
fn begin_vs_end_of_a_child() {
    explore("begin_vs_end_of_a_child", || {
        let (drain, works) = (drain(1), Works::new());
        let child = drain.child();
        let work = works.under(child.guard().unwrap());
        let drained = child.until_drained();
        let worker = on(0, || drop(work));
        let owner = on(0, || drop(child));
        drain.begin();
        block_on(drain.until_drained());
        works.check_drained();
        block_on(drained);
        worker.join().unwrap();
        owner.join().unwrap();
        assert_eq!(drain.in_flight(), 0);
    });
}

/// A guard that is alive is counted while the drain begins and children come and go: a report that
/// found nobody would call the work drained.
#[test]
fn count_vs_child() {
    explore("count_vs_child", || {
        let drain = drain(1);
        let work = drain.guard().unwrap();
        let before = drain.child();
        let other = on(0, {
            let drain = drain.clone();
            move || {
                let child = drain.child();
                drop(before);
                drain.begin();
                drop(child);
            }
        });
        let count = drain.in_flight();
        assert!((1..10).contains(&count), "{count}");
        other.join().unwrap();
        assert_eq!(drain.in_flight(), 1);
        drop(work);
        assert_eq!(drain.in_flight(), 0);
    });
}

/// S8: the same while idle connections come and go.
#[test]
fn count_vs_idle() {
    explore("count_vs_idle", || {
        let drain = drain(1);
        let work = drain.guard().unwrap();
        let before = Node::presence_for_task(drain.node());
        let other = on(0, {
            let drain = drain.clone();
            move || {
                let next = Node::presence_for_task(drain.node());
                drop(before);
                drop(next);
            }
        });
        let count = drain.in_flight();
        assert!((1..10).contains(&count), "{count}");
        other.join().unwrap();
        assert_eq!(drain.in_flight(), 1);
        drop(work);
    });
}

/// Lets an abort race the last guard's drop, while this thread does what `wait` says.
fn abort_vs_last_drop(name: &str, wait: impl Fn(&Drain, &Works) + Send + Sync + 'static) {
    explore(name, move || {
        let (drain, works) = (drain(1), Works::new());
        let work = works.under(drain.guard().unwrap());
        drain.begin();
        let worker = on(0, || drop(work));
        let aborter = on(0, {
            let drain = drain.clone();
            move || {
                drain.abort();
            }
        });
        wait(&drain, &works);
        worker.join().unwrap();
        aborter.join().unwrap();
        works.check_drained();
        assert_eq!(drain.phase(), Phase::Drained);
    });
}

/// L1 S1: abort races the last guard's drop. Either wakes the task that waits for aborting, and
/// drained is final.
#[test]
fn abort_vs_last_drop_vs_wait_for_aborting() {
    abort_vs_last_drop("abort_vs_last_drop_vs_wait_for_aborting", |drain, _| {
        block_on(drain.until_aborting());
    });
}

/// L1: the same where the task waits for drained.
#[test]
fn abort_vs_last_drop_vs_wait_for_drained() {
    abort_vs_last_drop("abort_vs_last_drop_vs_wait_for_drained", |drain, works| {
        block_on(drain.until_drained());
        works.check_drained();
    });
}

/// L1: two handles are dropped at once. The last begins the drain, and a guard learns of it.
#[test]
fn last_handles_drop() {
    explore("last_handles_drop", || {
        let drain = drain(1);
        let work = drain.guard().unwrap();
        let drained = drain.until_drained();
        let owner = on(0, {
            let drain = drain.clone();
            move || drop(drain)
        });
        drop(drain);
        block_on(work.until_draining());
        drop(work);
        block_on(drained);
        owner.join().unwrap();
    });
}

/// S7: a thread that sees draining reads the deadline, of the drain and of its child.
#[test]
fn begin_with_deadline_vs_deadline() {
    explore("begin_with_deadline_vs_deadline", || {
        let drain = drain(1);
        let child = drain.child();
        let work = child.guard().unwrap();
        let deadline = Instant::now() + Duration::from_secs(1);
        let beginner = on(0, {
            let drain = drain.clone();
            move || assert!(drain.begin_with_deadline(deadline))
        });
        if work.is_draining() {
            assert_eq!(work.deadline(), Some(deadline));
        }
        if drain.is_draining() {
            assert_eq!(drain.deadline(), Some(deadline));
        }
        beginner.join().unwrap();
        assert_eq!(work.deadline(), Some(deadline));
    });
}

/// S7: a child made while the parent begins has the deadline as soon as it is draining.
#[test]
fn begin_with_deadline_vs_child() {
    explore("begin_with_deadline_vs_child", || {
        let drain = drain(1);
        let work = drain.guard().unwrap();
        let deadline = Instant::now() + Duration::from_secs(1);
        let beginner = on(0, {
            let drain = drain.clone();
            move || assert!(drain.begin_with_deadline(deadline))
        });
        // On a thread too: one that begins while this one waits takes no preemption, of which it
        // needs three.
        let maker = on(0, move || {
            let child = drain.child();
            if child.is_draining() {
                assert_eq!(child.deadline(), Some(deadline));
            }
            drop(work);
        });
        beginner.join().unwrap();
        maker.join().unwrap();
    });
}

/// S1: a thread begins while another is about to begin further down. It finds all below begun.
#[test]
fn begin_vs_begin_below() {
    explore("begin_vs_begin_below", || {
        let drain = drain(1);
        let child = drain.child();
        let below = child.child();
        let other = on(0, move || {
            child.begin();
        });
        drain.begin();
        assert!(below.is_draining());
        other.join().unwrap();
    });
}

/// S1: the thread that begins second finds all below begun, though the first is not done.
#[test]
fn begin_vs_begin() {
    explore("begin_vs_begin", || {
        let drain = drain(1);
        let child = drain.child();
        let other = on(0, {
            let drain = drain.clone();
            move || {
                drain.begin();
            }
        });
        drain.begin();
        assert!(child.is_draining());
        other.join().unwrap();
    });
}

/// S7: a limit to draining that comes while aborting begins does not replace the limit to aborting,
/// here or below.
#[test]
fn begin_with_deadline_vs_abort() {
    explore("begin_with_deadline_vs_abort", || {
        let drain = drain(1);
        let child = drain.child();
        let work = child.guard().unwrap();
        let draining = Instant::now() + Duration::from_secs(1);
        let aborting = draining + Duration::from_secs(1);
        let beginner = on(0, {
            let drain = drain.clone();
            move || {
                drain.begin_with_deadline(draining);
            }
        });
        assert!(drain.node().raise(Phase::Aborting, Some(aborting)));
        assert_eq!(drain.deadline(), Some(aborting));
        beginner.join().unwrap();
        assert_eq!([drain.deadline(), work.deadline()], [Some(aborting); 2]);
    });
}

/// Keeps the first shard from ending, and is not work.
struct Idle(#[allow(dead_code, reason = "kept")] Option<Presence>);

impl Idle {
    fn new(drain: &Drain) -> Self {
        Self(Node::presence(drain.node()))
    }
}

fn seat(drain: &Drain) -> sync::Arc<Seat> {
    Node::shard_seat(drain.node()).unwrap()
}

/// Aborts `drain` while work moves to a new guard of `to` on the first shard. It is in the record.
fn abort_vs_move(drain: &Drain, to: &Drain, work: Guard) {
    let moved = Arc::new(std::sync::Mutex::new(None));
    let mover = on(0, {
        let (moved, to) = (Arc::clone(&moved), to.clone());
        move || {
            let next = to.guard().unwrap();
            drop(work);
            *moved.lock().unwrap() = Some(next);
        }
    });
    drain.abort();
    let abandoned = drain.node().abandoned().total();
    assert!((1..=2).contains(&abandoned), "{abandoned} in the record");
    mover.join().unwrap();
}

/// S8: aborting races a guard that moves from the shard that is counted last to the first.
#[test]
fn abort_vs_move_between_shards() {
    explore("abort_vs_move_between_shards", || {
        let drain = drain(2);
        let _idle = Idle::new(&drain);
        set_thread_index(1);
        let work = drain.guard().unwrap();
        abort_vs_move(&drain, &drain, work);
    });
}

/// S8: the same for a guard that moves from a child to its parent, which is counted first.
#[test]
fn abort_vs_move_to_the_parent() {
    explore("abort_vs_move_to_the_parent", || {
        let drain = drain(1);
        let child = drain.child();
        let work = child.guard().unwrap();
        abort_vs_move(&drain, &drain, work);
    });
}

/// S8: the same for a guard that moves from a drain to its child.
#[test]
fn abort_vs_move_to_a_child() {
    explore("abort_vs_move_to_a_child", || {
        let drain = drain(1);
        let child = drain.child();
        let _idle = Idle::new(&child);
        let work = drain.guard().unwrap();
        abort_vs_move(&drain, &child, work);
    });
}

/// S8: aborting races a connection that goes to rest, works again and is then lost. Each piece of
/// work is in the record once: the first if it was alive when aborting began, the second in any
/// case.
#[test]
fn abort_vs_connection() {
    explore("abort_vs_connection", || {
        let drain = drain(1);
        let seat = seat(&drain);
        let first = Arc::new(Plain::new(0));
        let connection = on(0, {
            let first = Arc::clone(&first);
            move || {
                let (node, work) = (seat.node(), WorkState::new(seat.part()));
                node.rest(&work);
                first.store(usize::from(!work.is_uncounted()), SeqCst);
                node.resume(&work);
                work.set_at_work(true);
                node.abandon(Some(&work), None);
                Node::end_presence(seat);
            }
        });
        drain.abort();
        connection.join().unwrap();
        assert_eq!(drain.node().abandoned().total(), 1 + first.load(SeqCst));
    });
}

/// Aborts `drain` while `other` happens. Nothing is in flight, and so nothing was abandoned.
fn abort_vs_no_work(drain: &Drain, other: impl FnOnce() + Send + 'static) {
    let other = on(0, other);
    drain.abort();
    other.join().unwrap();
    assert_eq!(drain.node().abandoned().total(), 0);
}

/// S8: aborting races the close of an idle connection.
#[test]
fn abort_vs_end_of_an_idle_connection() {
    explore("abort_vs_end_of_an_idle_connection", || {
        let drain = drain(1);
        let idle = Idle::new(&drain);
        abort_vs_no_work(&drain, || drop(idle));
    });
}

/// S8: aborting races the making, and the end, of a child without work.
#[test]
fn abort_vs_idle_child() {
    explore("abort_vs_idle_child", || {
        let drain = drain(1);
        let maker = drain.clone();
        abort_vs_no_work(&drain, move || drop(maker.child()));
    });
}

/// S8: abort races begin, while the drain is idle.
#[test]
fn abort_vs_begin_while_idle() {
    explore("abort_vs_begin_while_idle", || {
        let drain = drain(2);
        let _idle = Idle::new(&drain);
        let beginner = drain.clone();
        abort_vs_no_work(&drain, move || {
            beginner.begin();
        });
    });
}

/// S2: tracked guards are counted as others are, and leave the list before drained is seen.
#[test]
fn begin_vs_tracked_guard() {
    explore("begin_vs_tracked_guard", || {
        let drain = Drain::with_shards(1, true);
        let works = Works::new();
        let work = works.under(drain.guard().unwrap());
        let worker = on(0, || drop(work));
        drain.begin();
        block_on(drain.until_drained());
        works.check_drained();
        assert_eq!(drain.stragglers().total(), 0);
        worker.join().unwrap();
    });
}
