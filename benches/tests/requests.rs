//! What a request over HTTP/1 allocates.

use std::time::Duration;

use async_drain::hyper::Limits;
use async_drain_bench::{
    counting::{Counting, requests},
    memory::{Pair, TIMES},
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns how often the server asks for memory for a GET, rounded: one in a thousand may let a
/// buffer grow.
fn allocations(pair: Pair) -> usize {
    let mut allocations = 0;
    pair.run(|server| {
        let before = requests();
        server.run();
        allocations += requests() - before;
    });
    println!("{allocations} in {TIMES} requests");
    (allocations + TIMES / 2) / TIMES
}

/// The drain allocates nothing for a request, unless an age is set: handlers find what tells them
/// of it in the request's extensions, which take three allocations.
#[test]
fn a_request_allocates_what_it_does_without_the_drain() {
    const HOUR: Duration = Duration::from_secs(3600);
    let bare = allocations(Pair::bare());
    assert!(bare > 0, "nothing is counted");
    let none = Limits::new();
    for (limits, ours) in [(none, 0), (none.idle(HOUR), 0), (none.age(HOUR), 3)] {
        let drained = allocations(Pair::drained(limits, false, b""));
        assert_eq!(drained, bare + ours, "{limits:?}");
    }
}
