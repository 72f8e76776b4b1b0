//! What children cost: each operation in a function of its own, for `ci/instructions.sh` to count
//! the instructions of.

use std::hint::black_box;

use async_drain::Drain;

const TIMES: usize = 1000;

#[inline(never)]
fn child_and_drop(drain: &Drain) {
    drop(black_box(drain.child()));
}

#[inline(never)]
fn child_guard_and_drop(drain: &Drain) {
    let child = drain.child();
    black_box(child.guard().is_ok());
}

#[inline(never)]
fn guard_of_child_and_drop(child: &Drain) {
    black_box(child.guard().is_ok());
}

fn main() {
    let drain = Drain::with_shards(2, false);
    let child = drain.child();
    for _ in 0..TIMES {
        child_and_drop(black_box(&drain));
        child_guard_and_drop(black_box(&drain));
        guard_of_child_and_drop(black_box(&child));
    }
}
