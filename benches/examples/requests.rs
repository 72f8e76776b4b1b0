//! A request of each kind in a function of its own, for `ci/instructions.sh` to count the
//! instructions that a server takes for it, and how often it reads the clock.

use std::{hint::black_box, time::Duration};

use async_drain::hyper::Limits;
use async_drain_bench::memory::{Pair, Tasks};

const BODY: &[u8] = &[b'x'; 1000];
const HOUR: Duration = Duration::from_secs(3600);

// The texts keep the functions apart: the compiler may make one of those that are the same.

#[inline(never)]
fn http1_bare(server: &Tasks) {
    black_box("GET of HTTP/1, without the drain");
    server.run();
}

#[inline(never)]
fn http1_get(server: &Tasks) {
    black_box("GET of HTTP/1");
    server.run();
}

#[inline(never)]
fn http1_post(server: &Tasks) {
    black_box("POST of HTTP/1");
    server.run();
}

#[inline(never)]
fn http1_get_idle(server: &Tasks) {
    black_box("GET of HTTP/1, with an idle limit");
    server.run();
}

#[inline(never)]
fn http1_get_age(server: &Tasks) {
    black_box("GET of HTTP/1, with a limited age");
    server.run();
}

#[inline(never)]
fn http2_get(server: &Tasks) {
    black_box("GET of HTTP/2");
    server.run();
}

#[inline(never)]
fn http2_post(server: &Tasks) {
    black_box("POST of HTTP/2");
    server.run();
}

fn main() {
    let none = Limits::new();
    Pair::bare().run(http1_bare);
    Pair::drained(none, false, b"").run(http1_get);
    Pair::drained(none, false, BODY).run(http1_post);
    Pair::drained(none.idle(HOUR), false, b"").run(http1_get_idle);
    Pair::drained(none.age(HOUR), false, b"").run(http1_get_age);
    Pair::drained(none, true, b"").run(http2_get);
    Pair::drained(none, true, BODY).run(http2_post);
}
