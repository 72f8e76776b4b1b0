//! Any stream, cut into any reads, with messages that begin anywhere: what tide's connections pass
//! to async-h1.
#![no_main]

#[path = "../../crates/async-drain-tide/src/ahead/mod.rs"]
mod ahead;

use ahead::property::{Step, check};

libfuzzer_sys::fuzz_target!(|input: (Vec<Step>, &[u8])| check(input.1, &input.0));
