//! Each operation in a function of its own, for `ci/instructions.sh` to count the instructions of.
//!
//! The counts are those of the calling crate's code with the core's, compiled as a user's would be.

use std::{
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use async_drain::{Drain, Guard, futures::UntilDraining};

const TIMES: usize = 1000;

#[inline(never)]
fn guard_and_drop(drain: &Drain) {
    black_box(drain.guard().is_ok());
}

#[inline(never)]
fn clone_and_drop(guard: &Guard) {
    drop(black_box(guard.clone()));
}

#[inline(never)]
fn tracked_and_drop(drain: &Drain) {
    black_box(drain.guard().is_ok());
}

#[inline(never)]
fn is_draining(drain: &Drain) -> bool {
    drain.is_draining()
}

#[inline(never)]
fn guard_is_draining(guard: &Guard) -> bool {
    guard.is_draining()
}

#[inline(never)]
fn first_poll_and_drop(drain: &Drain, cx: &mut Context<'_>) -> Poll<()> {
    pin!(drain.until_draining()).poll(cx)
}

#[inline(never)]
fn re_poll(until: Pin<&mut UntilDraining>, cx: &mut Context<'_>) -> Poll<()> {
    until.poll(cx)
}

fn main() {
    let drain = Drain::with_shards(2, false);
    let tracked = Drain::with_shards(2, true);
    let guard = drain.guard().expect("running");
    let mut cx = Context::from_waker(Waker::noop());
    let mut until = pin!(drain.until_draining());
    assert!(until.as_mut().poll(&mut cx).is_pending());
    for _ in 0..TIMES {
        guard_and_drop(black_box(&drain));
        clone_and_drop(black_box(&guard));
        tracked_and_drop(black_box(&tracked));
        black_box(is_draining(black_box(&drain)));
        black_box(guard_is_draining(black_box(&guard)));
        let _ = black_box(first_poll_and_drop(black_box(&drain), &mut cx));
        let _ = black_box(re_poll(until.as_mut(), &mut cx));
    }
}
