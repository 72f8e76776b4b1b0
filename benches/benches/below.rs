//! Below the floor, an experiment: counts that their own thread changes without atomic
//! instructions.
//!
//! Each thread counts in a cell of its own with plain loads and stores. To begin is to forbid that,
//! to make sure by the kernel's membarrier that every thread has seen it, and to add up the cells;
//! from then on the count is one atomic number. What it would take to have this in the product
//! stands in docs/decisions/below-the-floor.md.

use std::{
    cell::Cell,
    hint::spin_loop,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering, compiler_fence},
    },
    thread,
};

use async_drain::Drain;
use async_drain_bench::{
    figures::Figures,
    race::{Contender, alone, together},
};
use rustix::thread::{MembarrierCommand, membarrier};

const ROUNDS: usize = 300;

fn main() {
    if let Err(error) = membarrier(MembarrierCommand::RegisterPrivateExpedited) {
        println!("SKIPPED: below the floor: no membarrier: {error}");
        return;
    }
    stress();
    let mut figures = Figures::new("below", "time, 1 = two atomics on a private line");
    let drain = Drain::new();
    let below: &'static Below = Box::leak(Box::new(Below::new()));
    let contenders = [
        Contender::new("two atomics", |_| {
            let line = Box::new(Line(AtomicIsize::new(1)));
            move || {
                line.0.fetch_add(1, Ordering::Relaxed);
                line.0.fetch_sub(1, Ordering::Release)
            }
        }),
        Contender::new("async-drain", |_| || drain.guard()),
        Contender::new("below the floor", |_| || below.guard()),
    ];
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let shared = together(&contenders, cores, ROUNDS / 5);
    for (times, case) in [
        (alone(&contenders, ROUNDS), "make ×1".to_owned()),
        (shared, format!("make ×{cores}")),
    ] {
        for (contender, time) in contenders.iter().zip(&times) {
            figures.add(&case, contender.name, time / times[0]);
        }
    }

    let begins = alone(
        &[
            Contender::new("two atomics", |_| {
                let line = Box::new(Line(AtomicIsize::new(1)));
                move || {
                    line.0.fetch_add(1, Ordering::Relaxed);
                    line.0.fetch_sub(1, Ordering::Release)
                }
            }),
            Contender::new("async-drain", |_| || Drain::new().begin()),
            Contender::new("below the floor", |_| {
                || membarrier(MembarrierCommand::PrivateExpedited)
            }),
        ],
        ROUNDS,
    );
    figures.add("new, begin", "async-drain", begins[1] / begins[0]);
    figures.add("membarrier", "below the floor", begins[2] / begins[0]);
    figures.publish();
}

#[repr(align(128))]
struct Line<T>(T);

/// One thread's part of the count; it may be negative, since a guard may drop on another thread
/// than it was made on.
struct Part {
    /// Whether its thread is between looking at `biased` and having counted.
    busy: AtomicBool,
    count: AtomicIsize,
}

struct Below {
    /// Whether threads still count for themselves.
    biased: AtomicBool,
    parts: Mutex<Vec<&'static Line<Part>>>,
    /// The count from when it is one: far above zero until all parts have been added.
    sum: AtomicIsize,
    drained: AtomicUsize,
}

const FAR: isize = isize::MAX / 2;

struct Guard(&'static Below);

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        self.0.change(-1);
    }
}

impl Below {
    fn new() -> Self {
        Self {
            biased: AtomicBool::new(true),
            parts: Mutex::new(Vec::new()),
            sum: AtomicIsize::new(FAR),
            drained: AtomicUsize::new(0),
        }
    }

    #[inline]
    fn guard(&'static self) -> Guard {
        self.change(1);
        Guard(self)
    }

    #[inline]
    fn change(&'static self, by: isize) {
        let part = &self.part().0;
        part.busy.store(true, Ordering::Relaxed);
        // The processor may still do the load first; the membarrier of `begin` makes up for that,
        // and only the compiler has to be kept from it here.
        compiler_fence(Ordering::SeqCst);
        if self.biased.load(Ordering::Acquire) {
            let count = part.count.load(Ordering::Relaxed);
            part.count.store(count.wrapping_add(by), Ordering::Relaxed);
            // Pairs with the wait in `begin`: the count, and the work done under the guard.
            part.busy.store(false, Ordering::Release);
        } else {
            part.busy.store(false, Ordering::Release);
            self.change_sum(by);
        }
    }

    #[cold]
    fn change_sum(&self, by: isize) {
        if self.sum.fetch_add(by, Ordering::AcqRel) + by == 0 {
            self.drained.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn begin(&self) {
        self.biased.store(false, Ordering::SeqCst);
        // After it every thread has either set `busy` where we see it, or will see `biased` gone.
        membarrier(MembarrierCommand::PrivateExpedited).expect("registered");
        let mut sum = 0;
        for part in self.parts.lock().expect("no panics").iter() {
            while part.0.busy.load(Ordering::Acquire) {
                spin_loop();
            }
            sum += part.0.count.load(Ordering::Relaxed);
        }
        self.change_sum(sum - FAR);
    }

    /// Returns the calling thread's part; an experiment remembers the last drain only, and frees
    /// nothing.
    #[inline]
    fn part(&'static self) -> &'static Line<Part> {
        thread_local! {
            static LAST: Cell<Option<(usize, &'static Line<Part>)>> = const { Cell::new(None) };
        }
        match LAST.get() {
            Some((of, part)) if of == std::ptr::from_ref(self).addr() => part,
            _ => {
                let part = self.new_part();
                LAST.set(Some((std::ptr::from_ref(self).addr(), part)));
                part
            }
        }
    }

    #[cold]
    fn new_part(&self) -> &'static Line<Part> {
        let part = Box::leak(Box::new(Line(Part {
            busy: AtomicBool::new(false),
            count: AtomicIsize::new(0),
        })));
        self.parts.lock().expect("no panics").push(part);
        part
    }
}

/// Checks the protocol: guards are created and dropped on several threads while it begins; it
/// drains once, when no guard is left.
fn stress() {
    for _ in 0..200 {
        let below: &'static Below = Box::leak(Box::new(Below::new()));
        let (send, receive) = std::sync::mpsc::channel::<Guard>();
        let kept = below.guard();
        let makers: Vec<_> = (0..2)
            .map(|_| {
                let send = send.clone();
                thread::spawn(move || {
                    for _ in 0..2000 {
                        // Dropped on another thread.
                        let _ = send.send(below.guard());
                    }
                })
            })
            .collect();
        drop(send);
        let dropper = thread::spawn(move || receive.into_iter().for_each(drop));
        below.begin();
        for maker in makers {
            maker.join().expect("it only counts");
        }
        dropper.join().expect("it only counts");
        assert_eq!(below.drained.load(Ordering::SeqCst), 0, "drained too early");
        drop(kept);
        assert_eq!(below.drained.load(Ordering::SeqCst), 1, "not drained once");
    }
}
