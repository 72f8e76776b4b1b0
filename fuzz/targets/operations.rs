//! Programs of all public operations, against the model that `cargo test` uses.
#![no_main]

use testkit::program::{Op, Program};

/// Enough to reach any state, and few enough for the model, which checks everything after each.
const MOST: usize = 200;

libfuzzer_sys::fuzz_target!(|input: (bool, u8, Vec<Op>)| {
    let (track, shards, ops) = input;
    Program::check(track, shards, ops.into_iter().take(MOST));
});
