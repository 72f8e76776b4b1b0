//! Any stream in any reads, with the messages beginning anywhere: what tide's connections hand to
//! async-h1.
#![no_main]

#[path = "../../crates/async-drain-tide/src/ahead/mod.rs"]
mod ahead;

use ahead::property::{Step, check};

libfuzzer_sys::fuzz_target!(|input: (Vec<Step>, &[u8])| check(input.1, &input.0));
